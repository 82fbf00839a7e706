"""What the kernel offers and Python 3.11 doesn't: mounts, namespaces, id maps, opening inside a root.

==========================  ==============================================================================
`calls`                     system calls by name and number; OSErrors
`mounts`, `fsmount`         mounts by the classic calls, and by the newer ones: detached, of 500 layers
`namespaces`, `handover`    rights, mounts of one's own, joining others; a mount of another namespace
`user_namespace`            becoming root; `shared_namespace`: the same one for all commands of a user
`idmaps`                    which ids stand for which
`process`                   who a process is for sure, signals to it, waiting for its end
`files`, `sync`             opening inside a root, cloning, exchanging; a whole tree on the disk
==========================  ==============================================================================

Thin: each function is one idea of a man page, with an OSError that names the path. Who may call what, and what for, is
decided above. `ctypes` is imported by `calls` and its callers alone, and only when something is called.
"""
