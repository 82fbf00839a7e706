"""One document by itself: is it JSON, does it keep its schema and the grammar of the spec? Every fault is told.

Three nets, each finer in one way: a lenient JSON reader (finds what can be found in damaged text), the JSON Schema
(finds every wrong field), and the strict parser of `oci.spec` (knows what a schema can't say, stops at the first).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from oci.errors import InvalidDocument, OciError, show
from oci.layout.finding import Finding, limited
from oci.layout.schema import SchemaFault, schema_faults
from oci.spec import media_types
from oci.spec.document import parse_config, parse_index, parse_manifest
from oci.verification.lenient import Loaded, descriptor_fault, load_json, read_target

__all__ = ["Judged", "Kind", "judge"]

Kind = Literal["index", "manifest", "config"]

MAX_FAULTS = (
    1000  # of the descriptors in one document; a hundred are told, and after these nobody wants the exact number
)


@dataclass(slots=True)
class Judged:
    """A document as far as it could be read: `value` is a JSON object, or None; `kind` is what it really is."""

    kind: Kind
    value: dict[str, Any] | None = None
    findings: list[Finding] = field(default_factory=list)


def judge(raw: bytes, kind: Kind, media_type: str, where: str, *, place: str = "", altered: bool = False) -> Judged:
    """Check one document. `kind` and `media_type` are what its descriptor says, at `place`; `where` names the document.

    `altered` means that the digest was wrong already: bytes that are no JSON then need no second finding.
    """
    loaded = load_json(raw)
    value = loaded.value if isinstance(loaded.value, dict) else None
    findings: list[Finding] = []
    if kind != "config" and value is not None:
        findings += _media_type(value, kind, media_type, where, place or where)
        kind, media_type = _real(value, kind, media_type)
    if not (altered and loaded.value is None):
        findings += (Finding.error(code, where, f"{told}; have it written anew") for code, told in loaded.faults)
    if loaded.value is not None:
        findings += _grammar(raw, loaded, kind, media_type, where)
    elif not loaded.faults:
        findings.append(Finding.error("schema", where, "must be an object, is null"))
    return Judged(kind, value, list(limited(findings, where)))


def _real(value: dict[str, Any], kind: Kind, media_type: str) -> tuple[Kind, str]:
    """What a document is by its own words, or where it has none by its shape, rather than by its descriptor's."""
    said = value.get("mediaType")
    if isinstance(said, str):
        if media_types.is_index(said):
            return "index", said
        if media_types.is_manifest(said):
            return "manifest", said
    if kind == "manifest" and "manifests" in value and "layers" not in value:
        return "index", media_types.INDEX
    if kind == "index" and "layers" in value and "manifests" not in value:
        return "manifest", media_types.MANIFEST
    return kind, media_type


def _media_type(value: dict[str, Any], kind: Kind, media_type: str, where: str, place: str) -> Iterator[Finding]:
    """Whether descriptor, `mediaType` and fields agree on what this is (media-types.md#media-type-conflicts)."""
    said = value.get("mediaType")
    if isinstance(said, str) and said != media_type:
        yield Finding.error(
            "media-type", place, f"the media type here is {media_type}, the document {where} says {show(said)}"
        )
    elif said is None and _real(value, kind, media_type)[0] != kind:
        yield Finding.error(
            "media-type", place, f"the media type here is {media_type}, the document {where} is no {kind}"
        )
    if _two(value):
        # CVE-2021-41190: tools that ignore the media type take one document for two different things.
        yield Finding.error(
            "media-type",
            where,
            "has both `manifests` and `layers` or `config`: index or manifest? leave out one of them",
        )


def _grammar(raw: bytes, loaded: Loaded, kind: Kind, media_type: str, where: str) -> Iterator[Finding]:
    value = loaded.value
    documented = kind != "config" and isinstance(value, dict)
    found = list(schema_faults(_schema(kind, media_type), value))
    # Of what is no object the first: what an array lacks to be one needn't be told.
    faults = _Faults(found if isinstance(value, dict) else found[:1])
    if documented:
        # The parser knows more than the schema, but stops at its first fault: so each descriptor is given to it alone.
        for place, one in _descriptors(value):
            error = descriptor_fault(one, place)
            if error is not None:
                faults.add(error.pointer or place, error.reason)
                if len(faults.found) > MAX_FAULTS:
                    break
    null = _null_list(value, kind)
    if all(fault.pointer == null for fault in faults.found) and not loaded.faults:
        try:
            _PARSERS[kind](raw, media_type)
        except InvalidDocument as error:
            faults.add(error.pointer, error.reason)
        except OciError as error:
            faults.add("", str(error))
    told = _told_elsewhere(value) if documented else set()
    for fault in faults.found:
        if (fault.pointer, fault.rule) in told or (fault.pointer, "") in told:
            continue
        if fault.pointer == null:
            message = "is null where an array must be, if only an empty one (Go writes it so); some tools refuse that"
            yield Finding.warning("schema", f"{where} {null}", message)
            continue
        code = "bad-descriptor" if documented and _IN_DESCRIPTOR.match(fault.pointer) else "schema"
        yield Finding.error(code, f"{where} {show(fault.pointer)}" if fault.pointer else where, fault.message)


def _null_list(value: Any, kind: Kind) -> str | None:
    """The place of the required list, if it is null: `umoci init` and others write that, and everybody reads it."""
    place = {"index": "/manifests", "manifest": "/layers", "config": "/rootfs/diff_ids"}[kind]
    for name in place[1:].split("/"):
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return place if value is None else None


class _Faults:
    """The faults of one document, one a place: an index of 4 MiB has room for a million."""

    def __init__(self, found: Iterable[SchemaFault]) -> None:
        self.found = list(found)
        self._places = {fault.pointer for fault in self.found}
        self._above = {above for place in self._places for above in _above(place)}

    def add(self, place: str, reason: str) -> None:
        """Add what the parser says, unless a fault is known at, above or below that place: likely the same one."""
        above = _above(place)
        if place not in self._places and place not in self._above and self._places.isdisjoint(above):
            self.found.append(SchemaFault(place, reason, "parser"))
            self._places.add(place)
            self._above.update(above)


def _above(place: str) -> list[str]:
    """The JSON pointers that lead to a place, without its own; the document's is empty."""
    found = []
    while place:
        place = place.rpartition("/")[0]
        found.append(place)
    return found


def _told_elsewhere(value: dict[str, Any]) -> set[tuple[str, str]]:
    """Faults, as pointer and rule ("": any), with codes of their own: `media-type`, `artifact-type`, `embedded-…`."""
    told = (
        {("", "not"), ("/manifests", "parser"), ("/layers", "parser"), ("/config", "parser")} if _two(value) else set()
    )
    if isinstance(value.get("mediaType"), str):
        told.add(("/mediaType", ""))
    if _is_empty_config(value.get("config")):
        told |= {("", "required:artifactType"), ("/config", "parser")}
    for place, one in _descriptors(value):
        if read_target(one, place).data is not None:  # it can be read, so the fault is that it is other data
            told.add((f"{place}/data", "parser"))
    return told


def _two(value: dict[str, Any]) -> bool:
    return "manifests" in value and ("layers" in value or "config" in value)


def _is_empty_config(config: object) -> bool:
    return isinstance(config, dict) and config.get("mediaType") == media_types.EMPTY


_PARSERS: dict[Kind, Callable[[bytes, str], object]] = {
    "index": lambda raw, media_type: parse_index(raw, media_type=media_type),
    "manifest": lambda raw, media_type: parse_manifest(raw, media_type=media_type),
    "config": lambda raw, _: parse_config(raw),
}

_IN_DESCRIPTOR = re.compile(r"/(?:config|subject|layers/[0-9]+|manifests/[0-9]+)(?:/|$)")


def _descriptors(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every descriptor of a manifest or index, with its JSON pointer."""
    for name in ("config", "subject"):
        if isinstance(value.get(name), dict):
            yield f"/{name}", value[name]
    for name in ("layers", "manifests"):
        some = value.get(name)
        if isinstance(some, list):
            for at, one in enumerate(some):
                if isinstance(one, dict):
                    yield f"/{name}/{at}", one


def _schema(kind: Kind, media_type: str) -> str:
    if kind == "manifest" and media_type == media_types.DOCKER_MANIFEST:
        return "docker-manifest"
    if kind == "index" and media_type == media_types.DOCKER_LIST:
        return "docker-list"
    return kind
