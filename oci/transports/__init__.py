"""Where images come from and go to, all alike for `copy`.

==========================  ==============================================================================
`base`                      ImageSource and ImageDestination, the protocols
`names`                     a reference's text → an endpoint
`source`, `destination`     what those on disk share: blobs of a store, images in an index
`from_layout`               oci:DIRECTORY
`from_archive`              oci-archive:FILE
`from_docker_archive`       docker-archive:FILE, what `docker save` writes
`from_registry`             docker://HOST/REPO as a source, read in place
`registry_memory`           what that source has seen: documents, and what they say of blobs
`registry_rows`             what a repository holds, a row for each tag
`from_registry_push`        docker://HOST/REPO as a destination
`spool`                     blobs whose digest only their end tells, kept in files until they are uploaded
`registries`                `docker://` references → sources and destinations, for `others=` of `names`
`copy`                      one image or a whole index from a source to a destination, byte for byte
`recompress`                the same layers in another compression
`attached`                  what refers to an image, to be copied with it
`subset`                    some platforms of an index as a source of their own
`copy_many`, `copy_list`    many copies in one run; the list that says which
`places`                    how the references of such a list are reached
==========================  ==============================================================================

Nothing is imported here: each user names the module it needs.
"""
