"""Writes docs/api.md from the names that `import oci` gives: `make docs`. With --check, only says if it is current."""

from __future__ import annotations

import inspect
import sys
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import oci
from oci.spec.record import Record

PAGE = Path(__file__).resolve().parent / "api.md"

HEAD = """\
# The library's names

<!-- Made by `make docs` from the code; edit the docstrings there. -->

What `import oci` gives, with signatures; [library.md](library.md) is the guide. Beside these, `unpack` is
in `oci.unpack.rootfs`, `copy` in `oci.transports.copy`, `open_source` and `open_destination` in `oci.transports.names`,
and the error classes are in `oci.errors`. A `Layout` and an `Archive` have their store of blobs in `.blobs`. The values
can't be changed: `value.replace(field=…)` gives a changed copy.
"""

GROUPS = {
    "Images": ["Image", "Layer", "ImageBuilder", "Source", "append", "edit_config", "KEEP", "select", "all_images"],
    "Where images are": ["Layout", "Archive", "MemoryBlobs", "ChainBlobs", "parse_reference"],
    "Trees and layers": ["scan", "compare", "merge"],
    "Containers": ["Store", "Container", "RunSettings", "MountSetting"],
    "Checking": ["verify", "OciError"],
    "The spec's values": [
        "Descriptor", "Digest", "Platform", "Document", "Manifest", "Index", "ImageConfig", "RunConfig", "History",
        "Healthcheck",
    ],
}  # fmt: skip
INTERNAL = {"from_fields", "said_of"}


def page() -> str:
    missing = set(oci.__all__) - {name for names in GROUPS.values() for name in names}
    if missing:
        raise SystemExit(f"docs/generate_api.py: no group for {', '.join(sorted(missing))}")
    parts = [HEAD]
    for title, names in GROUPS.items():
        parts.append(f"## {title}\n")
        parts += [entry(name, getattr(oci, name)) for name in names]
    return "\n".join(parts)


def entry(name: str, found: Any) -> str:
    if name == "KEEP":
        return "### `KEEP`\n\nThe default of what `edit_config` leaves as it is; `None` takes a field away.\n"
    lines = [signature(name, found)]
    if inspect.isclass(found) and name != "OciError":
        lines += [line for one, of in sorted(members(found).items()) for line in member(one, of)]
    code = "\n".join(lines)
    return f"### `{name}`\n\n{summary(found)}\n\n```text\n{code}\n```\n"


def members(kind: type) -> dict[str, Any]:
    """The public methods and properties, inherited ones too, but not those that every record has."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("oci.") and base is not Record:
            found |= {name: of for name, of in vars(base).items() if not name.startswith("_") and name not in INTERNAL}
    return {name: of for name, of in found.items() if callable(of) or isinstance(of, (classmethod, property))}


def member(name: str, of: Any) -> list[str]:
    if isinstance(of, property):
        return [f"    .{name} -> {inspect.signature(of.fget).return_annotation}"]  # type: ignore[arg-type]
    return ["    " + line for line in signature(f".{name}", of).splitlines()]


def signature(name: str, found: Any) -> str:
    """One line, or one a parameter where that would be too long; records by their fields."""
    if inspect.isclass(found) and issubclass(found, Record):
        return _written(
            name, [f"{field.name}: {_kind(found, field.name)}{_default(field)}" for field in fields(found)], ""
        )  # type: ignore[arg-type]
    made = inspect.signature(found.__func__ if isinstance(found, classmethod) else found)
    parameters: list[str] = []
    star = False
    for parameter in made.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            parameters.append("*")
            star = True
        parameters.append(_parameter(parameter))
    returned = made.return_annotation
    result = "" if inspect.isclass(found) or returned is made.empty else f" -> {returned}"
    return _written(name, parameters, result)


def _kind(record: type, field: str) -> Any:
    return next(_annotations(base)[field] for base in record.__mro__ if field in _annotations(base))


def _annotations(base: type) -> dict[str, Any]:
    found: dict[str, Any] = vars(base).get("__annotations__", {})
    return found


def _default(field: Field[Any]) -> str:
    if field.default_factory is not MISSING:
        return f" = {field.default_factory()!r}"
    return "" if field.default is MISSING else f" = {field.default!r}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    default = ""
    if parameter.default is not parameter.empty:
        default = " = KEEP" if parameter.default is oci.KEEP else f" = {parameter.default!r}"
    return f"{stars}{parameter.name}: {parameter.annotation}{default}"


def _written(name: str, parameters: list[str], result: str) -> str:
    line = f"{name}({', '.join(parameters)}){result}"
    if len(line) <= 100:
        return line
    return "\n".join([f"{name}(", *(f"    {one}," for one in parameters), f"){result}"])


def summary(found: Any) -> str:
    return " ".join((inspect.getdoc(found) or "").partition("\n\n")[0].split())


if __name__ == "__main__":
    text = page()
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.exists() and PAGE.read_text() == text else "docs/api.md is not current: run `make docs`")
    PAGE.write_text(text)
