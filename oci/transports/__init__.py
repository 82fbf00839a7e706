"""Where images come from and go to, all alike for `copy`.

==========================  ==============================================================================
`base`                      ImageSource and ImageDestination, the protocols
`names`                     a reference's text → an endpoint
`source`                    what sources on disk share: blobs of a store, an image in an index
`from_layout`               oci:DIRECTORY
`from_archive`              oci-archive:FILE
`from_docker_archive`       docker-archive:FILE, what `docker save` writes
`copy`                      one image or a whole index from a source to a destination, byte for byte
`recompress`                the same layers in another compression
==========================  ==============================================================================

Nothing is imported here: each user names the module it needs.
"""
