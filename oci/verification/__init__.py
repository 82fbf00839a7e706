"""Every fault of an image, a layout or an archive, listed: `verify`.

==============  ====================================================================================
`verify`        the two passes: files and documents first, then every blob once, in parallel
`documents`     index → manifests → configs: what they claim of each other, and which blobs they name
`grammar`       one document by itself: JSON, schema, the spec's grammar
`lenient`       what can be read of a damaged document
`config`        what a config claims, held against its manifest and its entry in the index
`blob`          one blob, read once: size, digest, diff_id, entries
`entries`       the entries of a layer: unsafe names, duplicates, links that lead out
`report`        the outcome and its JSON form; the list of all codes
`formats`       the outcome as text, SARIF, JUnit and GitHub annotations
==============  ====================================================================================

The rules for a layout's files are `oci.layout.rules`. Nothing is imported here: each user names the module it needs.
"""
