"""What `copy --from-file` reads: lines of `SRC DST`, or TOML with whole repositories to keep alike.

Lines: two references, with blanks between; quotes ("…" or '…') around one that has blanks; `#` begins a comment; blank
lines mean nothing. TOML::

    [[sync]]
    source = "docker://registry.example.com/team/app"
    destination = "oci:mirror"            # or "docker://…"; with {tag} in it, the tag is put there
    tags = ["v1.*", "latest"]             # shell patterns; all tags without it
    exclude = ["*-rc*"]
    platforms = ["linux/amd64"]           # all without it
    referrers = true                      # signatures, SBOMs, … too

Everything is checked before anything is copied; an error names the file and the line or key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from oci.errors import ConfigurationError, InvalidPlatform, InvalidReference, show
from oci.spec.platform import Platform
from oci.spec.record import Record
from oci.spec.reference import (
    ArchiveRef,
    DockerArchiveRef,
    LayoutRef,
    Reference,
    RegistryRef,
    StoreRef,
    has_tag,
    parse_reference,
)

__all__ = ["Pair", "Sync", "read_list", "registries_of"]

MAX_LIST = 16 << 20  # bytes of such a file: some 100,000 lines

_KEYS = ("source", "destination", "tags", "exclude", "platforms", "referrers")
_TAG = "{tag}"
_ANY = "any"  # stands for a tag, to see what else a destination says


class Pair(Record):
    """One image to copy; `where` is the place in the file."""

    source: Reference
    destination: Reference
    where: str


class Sync(Record):
    """Tags of a repository, layout or archive to keep alike; references are without a tag."""

    source: RegistryRef | LayoutRef | ArchiveRef
    destination: str  # a reference without a tag, or with {tag} in it
    where: str
    tags: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    platforms: tuple[Platform, ...] = ()
    referrers: bool = False

    def target(self, tag: str) -> Reference:
        """Give the reference that a tag is copied to. ConfigurationError.

        The tag is a stranger's word: a layout's may be anything, and where it becomes a part of a path it stays one. It
        never says which registry gets the image, and our credentials.
        """
        if _TAG in self.destination and not {"", ".", ".."}.isdisjoint(tag.split("/")):
            raise ConfigurationError(
                self.where, f"the tag {show(tag)!r} of {self.source} can't be put into a destination"
            )
        text = self.destination.replace(_TAG, tag) if _TAG in self.destination else f"{self.destination}:{tag}"
        reference = _parse(text, self.where, "destination")
        if _TAG in self.destination and isinstance(reference, RegistryRef):
            meant = _parse(self.destination.replace(_TAG, _ANY), self.where, "destination")
            if not isinstance(meant, RegistryRef) or meant.registry != reference.registry:
                reason = f"the tag {show(tag)!r} of {self.source} would choose the registry; name it before {_TAG}"
                raise ConfigurationError(self.where, reason)
        return reference


def read_list(raw: bytes, name: str, *, toml: bool) -> tuple[Pair | Sync, ...]:
    """Read a list; `name` is the file's, for messages. Raises ConfigurationError."""
    if len(raw) > MAX_LIST:
        raise ConfigurationError(name, f"more than {MAX_LIST} bytes; split it")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(name, f"not UTF-8 at byte {error.start}") from None
    found = tuple(_toml(text, name)) if toml else tuple(_lines(text, name))
    if not found:
        raise ConfigurationError(name, "holds nothing to copy")
    return found


def registries_of(tasks: Sequence[Pair | Sync]) -> tuple[frozenset[str], frozenset[str]]:
    """Give the registries that a list reads from, and those that it writes to."""
    targets = (task.destination if isinstance(task, Pair) else task.target("v1") for task in tasks)
    return (
        frozenset(task.source.registry for task in tasks if isinstance(task.source, RegistryRef)),
        frozenset(target.registry for target in targets if isinstance(target, RegistryRef)),
    )


# Lines


def _lines(text: str, name: str) -> Iterator[Pair]:
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{name}:{number}"
        words = list(_words(line, where))
        if not words:
            continue
        if len(words) != 2:
            raise ConfigurationError(
                where, f"expected SRC DST, got {len(words)} {'words' if len(words) > 1 else 'word'}"
            )
        source, destination = (
            _parse(word, where, what) for word, what in zip(words, ("source", "destination"), strict=True)
        )
        _check_destination(destination, words[1], where)
        yield Pair(source=source, destination=destination, where=where)


def _words(line: str, where: str) -> Iterator[str]:
    at, end = 0, len(line)
    while True:
        while at < end and line[at].isspace():
            at += 1
        if at == end or line[at] == "#":
            return
        if line[at] in "\"'":
            close = line.find(line[at], at + 1)
            if close < 0:
                raise ConfigurationError(where, f"the quote {line[at]} is not closed")
            if close + 1 < end and not line[close + 1].isspace():
                raise ConfigurationError(where, "behind a closing quote comes a blank")
            yield line[at + 1 : close]
            at = close + 1
        else:
            start = at
            while at < end and not line[at].isspace():
                at += 1
            yield line[start:at]


# TOML


def _toml(text: str, name: str) -> Iterator[Sync]:
    import tomllib

    try:
        value = tomllib.loads(text)
    except RecursionError:
        raise ConfigurationError(name, "not TOML: nested too deeply") from None
    except ValueError as error:  # what isn't TOML, with its line; and numbers of thousands of digits
        raise ConfigurationError(name, f"not TOML: {error}") from None
    for key in value:
        if key != "sync":
            raise ConfigurationError(name, f"unknown table or key {show(key)!r}; entries begin with [[sync]]")
    entries = value.get("sync", [])
    if not isinstance(entries, list):
        raise ConfigurationError(name, "entries begin with [[sync]], in double brackets")
    for number, entry in enumerate(entries, 1):
        yield _entry(entry, f"{name}, sync {number}")


def _entry(entry: object, where: str) -> Sync:
    if not isinstance(entry, dict):
        raise ConfigurationError(where, "expected a table")
    for key in entry:
        if key not in _KEYS:
            raise ConfigurationError(where, f"unknown key {show(key)!r}; there is: {', '.join(_KEYS)}")
    source = _parse(_text(entry, "source", where), where, "source")
    if not isinstance(source, RegistryRef | LayoutRef | ArchiveRef):
        raise ConfigurationError(where, "the source is a repository, a layout or an oci-archive")
    if source.digest is not None or _has_tag(source, entry["source"]):
        raise ConfigurationError(where, f"source {show(entry['source'])}: leave the tag out, and say it in 'tags'")
    referrers = entry.get("referrers", False)
    if not isinstance(referrers, bool):
        raise ConfigurationError(where, "'referrers' is true or false")
    sync = Sync(
        source=source.replace(tag=None),
        destination=_text(entry, "destination", where),
        where=where,
        tags=_texts(entry, "tags", where) or ("*",),
        exclude=_texts(entry, "exclude", where),
        platforms=tuple(_platform(text, where) for text in _texts(entry, "platforms", where)),
        referrers=referrers,
    )
    _check_target(sync, where)
    return sync


def _check_target(sync: Sync, where: str) -> None:
    if _TAG not in sync.destination:
        plain = _parse(sync.destination, where, "destination")
        if isinstance(plain, DockerArchiveRef):
            raise ConfigurationError(where, "a docker-archive takes one image; say a file for each with {tag}")
        if _has_tag(plain, sync.destination) or getattr(plain, "digest", None) is not None:
            raise ConfigurationError(where, f"destination {show(sync.destination)}: leave the tag out, or write {_TAG}")
    target = sync.target("v1")
    _check_destination(target, sync.destination, where)


def _has_tag(reference: Reference, text: str) -> bool:
    """Whether a tag was written; a registry's reference gets one by itself."""
    if isinstance(reference, RegistryRef):
        return has_tag(text)
    return getattr(reference, "tag", None) is not None


def _text(entry: dict[str, object], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigurationError(where, f"'{key}' is missing" if value is None else f"'{key}' is a reference in quotes")
    return value


def _texts(entry: dict[str, object], key: str, where: str) -> tuple[str, ...]:
    value = entry.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ConfigurationError(where, f"'{key}' is a list of texts in brackets")
    return tuple(value)


def _platform(text: str, where: str) -> Platform:
    try:
        return Platform.parse(text)
    except InvalidPlatform as error:
        raise ConfigurationError(where, str(error)) from None


# Both


def _parse(text: str, where: str, what: str) -> Reference:
    try:
        reference = parse_reference(text)
    except InvalidReference as error:
        raise ConfigurationError(where, f"{what}: {error}") from None
    if isinstance(reference, StoreRef):
        raise ConfigurationError(
            where, f"{what} {show(text)}: the local store can't be used here; a registry's name begins with docker://"
        )
    return reference


def _check_destination(reference: Reference, text: str, where: str) -> None:
    if getattr(reference, "digest", None) is not None:
        raise ConfigurationError(
            where, f"destination {show(text)}: named by a tag, its digest follows from the content"
        )
