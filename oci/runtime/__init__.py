"""OCI runtimes: what a container is to be, the runtime-spec document that says so, and runc or crun that make it.

==========================  ==============================================================================
`settings`                  what was asked for, as a value that is kept
`config`                    the document: image, settings and `facts` → config.json
`process`, `env`, `users`   its parts: what is run, as whom (and `capabilities`, `seccomp`, `mounts`,
                            `devices`, `resources`)
`inside`, `mount_points`    paths of the image without links; what has to be there before a start
`programs`                  whether the program can be run at all
`trial`, `found`            which runtime works here, tried and remembered
`runc`, `failures`          the runtime at work; what it says when it fails, in our words
==========================  ==============================================================================
"""
