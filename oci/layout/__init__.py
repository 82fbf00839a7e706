"""Image layouts, directories and archives (image-spec v1.1.1 image-layout.md).

====================  ==================================================================================
`blobs`               the protocols BlobReader and BlobStore; stores without a disk
`directory`           blobs below a layout's directory: hashed, fsynced, renamed
`documents`           manifests, indexes and configs read bounded and verified
`refs`                which entry a name, a digest or nothing stands for; tagging as pure functions
`reader`              what a directory and an archive share for reading; the spec's file names
`layout`              Layout: the directory with its index.json, edited atomically under a lock
`walk`                everything reachable from a descriptor, children first
`collect`             gc: what nothing names any more
`tar_files`           the files in a tar archive, compressed or not, read in place
`archive`             a layout in a tar file, read in place
`archive_writer`      a layout written as a tar file in one deterministic pass
`finding`             one fault that a check found
`rules`, `schema`     faults of a layout's files, and of a document against its JSON Schema
====================  ==================================================================================

Nothing is imported here: each user names the module it needs.
"""
