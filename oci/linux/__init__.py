"""What the kernel offers and Python 3.11 doesn't: mounts, namespaces, id maps, opening inside a root.

Thin: each function is one idea of a man page, with an OSError that names the path. Who may call what, and what for, is
decided above. `ctypes` is imported by `calls` alone, and only when something is called.
"""
