"""Reading documents as far as they can be read: what a strict parser refuses is noted, and the rest is used.

`oci.spec` takes a document whole or not at all; a check that lists every fault has to look past the first one. Nothing
here is used to act on an image.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oci.errors import InvalidDigest, InvalidDocument, show
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.platform import Platform

__all__ = ["Loaded", "Target", "descriptor_fault", "load_json", "read_digest", "read_platform", "read_target"]


@dataclass(slots=True)
class Loaded:
    """JSON as far as it could be read: `value` is None where nothing could; faults are (code, sentence)."""

    value: Any = None
    faults: list[tuple[str, str]] = field(default_factory=list)


def load_json(raw: bytes) -> Loaded:
    """Parse JSON, noting what RFC 8259 or our own rules forbid: a BOM, bad UTF-8, repeated names, NaN, deep nesting."""
    loaded = Loaded()
    if raw.startswith(b"\xef\xbb\xbf"):
        loaded.faults.append(("invalid-json", "starts with a byte order mark, which JSON must not have"))
        raw = raw[3:]
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        loaded.faults.append(("invalid-json", f"is not UTF-8: bad byte at offset {error.start}"))
        text = raw.decode("utf-8", "replace")
    repeated: dict[str, None] = {}

    def paired(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            names = [name for name, _ in pairs]
            repeated.update(dict.fromkeys(name for name in made if names.count(name) > 1))
        return made

    def constant(name: str) -> float:
        loaded.faults.append(("invalid-json", f"holds {name}, which is no JSON number"))
        return 0.0

    try:
        loaded.value = json.loads(text, object_pairs_hook=paired, parse_constant=constant)
    except RecursionError:
        loaded.faults.append(("invalid-json", "is nested too deeply to be read"))
    except json.JSONDecodeError as error:
        at = f"line {error.lineno} column {error.colno}"
        loaded.faults.append(("invalid-json", f"is not JSON: {error.msg} at {at}" if text.strip() else "is empty"))
    except ValueError:  # int() refuses numbers of more than 4300 digits
        loaded.faults.append(("invalid-json", "holds a number with too many digits to be read"))
    for name in repeated:
        told = f"uses the name {show(name)!r} twice in one object; tools disagree on which one counts"
        loaded.faults.append(("duplicate-json-name", told))
    return loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a descriptor points to, as far as it can be understood; `where` is the descriptor's own place."""

    where: str
    media_type: str = ""
    digest: Digest | None = None
    size: int | None = None
    urls: tuple[str, ...] = ()
    data: bytes | None = None
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def descriptor(self) -> Descriptor:
        """Something to ask a store with; only `digest` is true for certain."""
        assert self.digest is not None
        return Descriptor(
            media_type=self.media_type or "application/octet-stream", digest=self.digest, size=self.size or 0
        )


def descriptor_fault(value: object, place: str) -> InvalidDocument | None:
    """Why the strict parser refuses a descriptor at the JSON pointer `place`; None if it takes it."""
    try:
        Descriptor.from_json(value, place)
    except InvalidDocument as error:
        return error
    except InvalidDigest as error:
        return InvalidDocument(str(error), pointer=f"{place}/digest")
    return None


def read_target(value: object, where: str) -> Target:
    """The usable fields of a descriptor, each on its own; what can't be used is left out."""
    if not isinstance(value, dict):
        return Target(where=where)
    size, media_type, urls = value.get("size"), value.get("mediaType"), value.get("urls")
    annotations = value.get("annotations")
    return Target(
        where=where,
        media_type=media_type if isinstance(media_type, str) else "",
        digest=read_digest(value.get("digest")),
        size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        urls=tuple(url for url in urls if isinstance(url, str)) if isinstance(urls, list) else (),
        data=_data(value.get("data")),
        platform=read_platform(value.get("platform")),
        annotations={
            name: text
            for name, text in (annotations.items() if isinstance(annotations, dict) else ())
            if isinstance(text, str)
        },
    )


def read_digest(value: object) -> Digest | None:
    """A digest, or None for what isn't one."""
    if not isinstance(value, str):
        return None
    try:
        return Digest.parse(value)
    except InvalidDigest:
        return None


def read_platform(value: object) -> Platform | None:
    """A platform object of an index, or the same fields of a config; None where os or architecture is missing."""
    if not isinstance(value, dict):
        return None
    os, architecture = value.get("os"), value.get("architecture")
    variant, version, features = value.get("variant"), value.get("os.version"), value.get("os.features")
    if not isinstance(os, str) or not isinstance(architecture, str):
        return None
    return Platform(
        os=os,
        architecture=architecture,
        variant=variant if isinstance(variant, str) and variant else None,
        os_version=version if isinstance(version, str) and version else None,
        os_features=tuple(one for one in features if isinstance(one, str)) if isinstance(features, list) else (),
    )


def _data(value: object) -> bytes | None:
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
