"""Writes oci/cli/quick_table.py from the commands themselves: `make docs`. With --check, only says if it is current."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "oci" / "cli" / "quick_table.py"

HEAD = '''"""Options and arguments of the commands, for quick.py. Made by `make docs`; never edited by hand."""

from __future__ import annotations

__all__ = ["COMMANDS"]

_Row = tuple[str, str, dict[str, tuple[str, str]], tuple[tuple[str, str], ...], bool]

# command → (module, function, {option: (parameter, kind)}, ((argument, kind), …), may options follow arguments)
# ruff: noqa: E501
# fmt: off
COMMANDS: dict[str, _Row] = {
'''
FOOT = "}\n# fmt: on\n"


def page() -> str:
    """The module's text."""
    from oci.cli.app import TABLE, command_tree

    root = command_tree()
    rows = []
    for command in TABLE:
        loaded = root.get_command(None, command.name)
        if not command.commands:
            rows.append((command.name, command.module, command.function or command.name, loaded))
        for name in command.commands:
            inner = loaded.commands[name.rstrip("_").replace("_", "-")]
            rows.append((f"{command.name} {inner.name}", command.module, name, inner))
    lines = [line for row in rows if (line := _row(*row)) is not None]
    return HEAD + "".join(f"    {line},\n" for line in lines) + FOOT


def _row(title: str, module: str, function: str, command: Any) -> str | None:
    """One line of the table; None for a command that has more than the table can say."""
    options: dict[str, tuple[str, str]] = {}
    arguments: list[tuple[str, str]] = []
    for parameter in command.params:
        kind = _kind(parameter)
        if parameter.param_type_name == "argument":
            if kind is None or (arguments and arguments[-1][1] in ("many", "some")):
                return None
            arguments.append((parameter.name, kind))
        elif kind is not None:
            if parameter.required:
                if kind != "one":
                    return None
                kind = "needed"
            options.update(dict.fromkeys(parameter.opts, (parameter.name, kind)))
            options.update(dict.fromkeys(parameter.secondary_opts, (parameter.name, "off")))
    optional = [kind == "maybe" for _, kind in arguments]
    if optional != sorted(optional):
        return None
    return f"{title!r}: {(module, function, options, tuple(arguments), bool(command.allow_interspersed_args))!r}"


def _kind(parameter: Any) -> str | None:
    """How the values of a parameter are read; None: by typer alone."""
    if parameter.callback is not None or not parameter.expose_value or parameter.envvar:
        return None
    plain = parameter.type_descriptor.annotation
    if parameter.param_type_name == "argument":
        if plain not in (str, list[str]):
            return None
        if parameter.nargs == -1:
            return "some" if parameter.required else "many"
        return "one" if parameter.required else "maybe"
    if getattr(parameter, "is_flag", False):
        return "on" if plain is bool else None
    if parameter.multiple:
        return "many" if plain == list[str] else None
    return {str: "one", int: "number"}.get(plain) if parameter.nargs == 1 else None


def main() -> int:
    """Write the table, or check it."""
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.exists() and PAGE.read_text() == text:
            return 0
        print("oci/cli/quick_table.py is not current: run `make docs`")
        return 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
