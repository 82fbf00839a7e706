"""typer, and what annotations need of `typing`, imported when something of them is first asked for.

A command's module needs typer for the annotations of its parameters, which are read only where typer makes a command of
it; quick.py calls the same functions without. (Annotations are not evaluated by themselves: PEP 563.)
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Any

    import typer
else:

    class Exit(Exception):  # noqa: N818 - typer's name
        """What typer.Exit is where typer reads the line; quick.py knows it by its name and its attribute."""

        def __init__(self, code=0):
            super().__init__(code)
            self.exit_code = code

    class _Typer:
        def __getattr__(self, name):
            if name == "Exit" and "typer" not in sys.modules:
                return Exit
            import typer as module

            return getattr(module, name)

    class _Annotated:
        def __getitem__(self, words):
            import typing

            return typing.Annotated[words]

    typer, Annotated, Any = _Typer(), _Annotated(), object

__all__ = ["Annotated", "Any", "typer"]
