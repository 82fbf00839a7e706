"""Checks of parsed JSON against our JSON Schemas (`schemas/*.json`, draft 2020-12), every fault with its place.

The schemas say what a document looks like field by field; what holds between fields and documents is checked elsewhere
(`oci.spec` for grammar, `oci.verification` for agreement). `jsonschema` is imported on first use: only `verify` pays.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oci.errors import show

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

__all__ = ["MAX_SCHEMA_FAULTS", "SchemaFault", "load", "names", "pointer", "schema_faults", "schemas_directory"]

# A hostile document may break its schema in every one of a million places; nobody reads beyond the first hundred.
MAX_SCHEMA_FAULTS = 100


@dataclass(frozen=True, slots=True)
class SchemaFault:
    """One place where a document breaks its schema: an RFC 6901 JSON pointer ("" is the whole) and a sentence.

    `rule` is the schema's keyword that was broken; for `required` with the missing name behind a colon.
    """

    pointer: str
    message: str
    rule: str


def schemas_directory() -> Path:
    """Where the schemas are: inside the installed package, or at the top of a source tree."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_schemas"
    return installed if installed.is_dir() else package.parent / "schemas"


def names() -> tuple[str, ...]:
    """Every schema's name: its path below the schemas directory without `.json`, such as `manifest` or `cli/verify`."""
    root = schemas_directory()
    return tuple(sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.json")))


@cache
def load(name: str) -> dict[str, Any]:
    """Read one schema by its name."""
    schema: dict[str, Any] = json.loads((schemas_directory() / f"{name}.json").read_text(encoding="utf-8"))
    return schema


def schema_faults(name: str, value: Any, *, limit: int = MAX_SCHEMA_FAULTS) -> Iterator[SchemaFault]:
    """Every place where `value` (parsed JSON) breaks the schema of that name, at most `limit` of them."""
    for error in islice(_leaves(_validator(name).iter_errors(value)), limit):
        rule = str(error.validator)
        if rule == "required":
            rule = f"required:{_missing(error)}"
        yield SchemaFault(pointer(error.absolute_path), _sentence(error), rule)


def pointer(path: Iterable[str | int]) -> str:
    """The JSON pointer (RFC 6901) for a path of names and positions."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


@cache
def _validator(name: str) -> Validator:
    from jsonschema import Draft202012Validator
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    schemas = {other: load(other) for other in names()}
    resources = [(schema["$id"], DRAFT202012.create_resource(schema)) for schema in schemas.values() if "$id" in schema]
    # A schema without an $id is found by its file name; nothing is ever fetched.
    resources += [(f"{other}.json", DRAFT202012.create_resource(schema)) for other, schema in schemas.items()]
    registry: Registry[Any] = Registry[Any]().with_resources(resources)
    return Draft202012Validator(load(name), registry=registry)


def _leaves(errors: Iterator[ValidationError]) -> Iterator[ValidationError]:
    """The errors that say something: of `anyOf`/`oneOf`, those of the branch that comes nearest."""
    for error in errors:
        if error.validator in ("anyOf", "oneOf") and error.context:
            branches: dict[Any, list[ValidationError]] = {}
            for inner in error.context:
                branches.setdefault(inner.schema_path[0], []).append(inner)
            nearest: list[ValidationError] = max(branches.values(), key=_depth)
            yield from _leaves(iter(nearest))
        else:
            yield error


def _depth(branch: list[ValidationError]) -> tuple[int, int]:
    return max(len(error.path) for error in branch), -len(branch)


_TYPES = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


def _sentence(error: ValidationError) -> str:
    """Our own words for an error: jsonschema's hold the whole document when the fault is at its top."""
    rule: Any = error.validator_value
    value: Any = error.instance
    match error.validator:
        case "type":
            wanted = [rule] if isinstance(rule, str) else rule
            return f"must be {' or '.join(_TYPES.get(one, one) for one in wanted)}, is {_brief(value)}"
        case "required":
            return f"has no {_brief(_missing(error))}, which is required"
        case "const":
            return f"must be {_brief(rule)}, is {_brief(value)}"
        case "enum":
            return f"must be one of {', '.join(map(_brief, rule[:12]))}, is {_brief(value)}"
        case "pattern":
            meaning = error.schema.get("description") if isinstance(error.schema, dict) else None
            return f"{_brief(value)} breaks the grammar {show(meaning or rule)}"
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            side = "least" if "inimum" in str(error.validator) else "most"
            return f"must be at {side} {rule}, is {_brief(value)}"
        case "minLength" if "propertyNames" in error.absolute_schema_path:
            return "a name in it is empty"
        case "minLength" | "minItems" | "minProperties":
            return f"must hold at least {rule}, holds {len(value)}"
        case "maxLength" | "maxItems" | "maxProperties":
            return f"must hold at most {rule}, holds {len(value)}"
        case "uniqueItems":
            return "must not hold one item twice"
        case "additionalProperties" | "unevaluatedProperties":
            return "has a field that doesn't belong here" + _extra(error)
        case "not" | "dependentRequired" | "if" | "contains":
            meaning = error.schema.get("description") if isinstance(error.schema, dict) else None
            return f"breaks the rule: {show(meaning)}" if meaning else f"is {_brief(value)}, which is not allowed here"
        case "format":
            return f"{_brief(value)} is not a valid {show(str(rule))}"
        case _:
            return f"is {_brief(value)}, which breaks the schema's rule {show(str(error.validator))}"


def _missing(error: ValidationError) -> str:
    """The missing name: jsonschema reports each on its own, and names it first in its message."""
    value: Any = error.instance
    wanted: Any = error.validator_value
    missing: list[str] = [name for name in wanted if name not in value]
    return next((name for name in missing if error.message.startswith(repr(name))), missing[0])


def _extra(error: ValidationError) -> str:
    known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
    extra = [name for name in error.instance if name not in known] if isinstance(error.instance, dict) else []
    return f": {', '.join(map(_brief, extra[:5]))}" if extra else ""


def _brief(value: object) -> str:
    """A value in a few words, however large it is."""
    match value:
        case dict():
            return "an object"
        case list():
            return "an array"
        case str():
            return show(json.dumps(value if len(value) <= 120 else f"{value[:100]}…", ensure_ascii=False))
        case int() if value.bit_length() > 200:
            return "a huge number"
        case _:
            return json.dumps(value)
