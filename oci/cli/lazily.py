"""typer, imported when something of it is first asked for.

A command's module needs typer for the annotations of its parameters, which are read only where typer makes a command of
it; quick.py calls the same functions without. (Annotations are not evaluated by themselves: PEP 563.)
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import typer
else:

    class _Typer:
        def __getattr__(self, name):
            import typer as module

            return getattr(module, name)

    typer = _Typer()

__all__ = ["typer"]
