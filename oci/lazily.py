"""Modules of the standard library that are imported when something of them is first asked for.

`from oci.lazily import re` in place of `import re`: a short command that meets no pattern, number or document that
needs it doesn't pay for it. Measured on `ocikit create`, milliseconds of CPU where an interpreter that does nothing
takes 10: `subprocess` 11, `re` with the `enum` it needs 5, `typing` 3, `hashlib` (it loads OpenSSL) 3, `json` 2,
`signal` 1.5 (docs/adr/0014-first-milliseconds.md). Only for modules on the way of such a command; and only for names
that are looked up in functions: a decorator, a base class or a constant would import the module at once.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib
    import json
    import re
    import signal
    import subprocess
else:

    class _Module:
        def __init__(self, name):
            self.__name__ = name

        def __getattr__(self, attribute):
            if attribute.startswith("__"):  # what copy, inspect and their like look for in anything
                raise AttributeError(attribute)
            module = __import__(self.__name__)
            self.__dict__.update(module.__dict__)
            return getattr(module, attribute)

    hashlib, json, re, signal, subprocess = map(_Module, ("hashlib", "json", "re", "signal", "subprocess"))

__all__ = ["hashlib", "json", "re", "signal", "subprocess"]
