"""OCI 1.1 artifacts: files as layers of a manifest, pushed, pulled, and attached to other manifests.

==========================  ==============================================================================
`names`                     what artifacts are called by, as oras has it; which titles are paths
`files`                     what a person wants pushed: FILE[:TYPE], annotations
`pack`, `attach`            files → blobs and a manifest; one with a subject
`folder`                    a directory as one layer, and the way back
`describe`                  what an artifact is: its type, its subject, its files
`plan`, `pull`, `place`     what goes where; fetching it; giving the files their names
==========================  ==============================================================================

Nothing is imported here: each user names the module it needs.
"""
