"""Names of `typing` that a module needs when it is run, for modules that `import typing` would make slow to start.

Type checkers see typing's own; at run time a protocol is a plain base class, and a `Literal` or a type variable nothing
at all. Importing `typing` takes a quarter of the time in which Python itself starts
(docs/adr/0014-first-milliseconds.md).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic, Literal, Protocol
else:

    class Protocol:
        """The base of a class that only says what others have."""

        __slots__ = ()

    class Generic:
        """`Generic[T]`, and what is derived from it with brackets behind, is the class alone."""

        __slots__ = ()

        def __class_getitem__(cls, item):
            return cls

    class Literal:
        """An alias of this at run time: annotations are never evaluated here."""

        def __class_getitem__(cls, item):
            return str


__all__ = ["Generic", "Literal", "Protocol"]
