"""registries.conf: where the images of a registry really are, who mirrors it, and what may not be asked at all.

The format is version 2 of containers-registries.conf(5): `[[registry]]` tables, of which the one with the longest
matching prefix counts, alone. Files are merged in the order given, as containers-registries.conf.d(5) has it: a list or
a mode of a later file replaces the earlier one, tables replace those with the same prefix, aliases those of the same
name. Version 1 is refused. Keys that mean nothing here are ignored, as the other tools do, but they are noted.

A prefix stands for whole parts of a name: `example.com` is neither `example.com.evil` nor `example.com:5000` (the other
tools take the second for a match, and call that a mistake), but it is `example.com:443`, which is how https reaches it:
what is blocked is blocked under either name. Mirrors and other locations are for pulling only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Self

from oci.errors import ConfigurationError, show
from oci.registry.endpoint import Endpoint
from oci.spec.annotations import is_tag
from oci.spec.digest import Digest, is_digest
from oci.spec.record import Record, field
from oci.spec.reference import DEFAULT_REGISTRY, is_host, is_repository

__all__ = ["Mirror", "RegistriesConf", "RegistryRule"]

MAX_CONF = 1 << 20  # bytes of one file: Debian's largest has some 4 KiB; thousands of registries fit

_TOP = (
    "registry",
    "unqualified-search-registries",
    "short-name-mode",
    "aliases",
    "credential-helpers",
    "additional-layer-store-auth-helper",
)
_OF_REGISTRY = ("prefix", "location", "insecure", "blocked", "mirror", "mirror-by-digest-only")
_OF_MIRROR = ("location", "insecure", "pull-from-mirror")
_MODES = ("enforcing", "permissive", "disabled")
_PULLS = ("all", "digest-only", "tag-only")


class Namespace(Record):
    """A namespace: the host (`*.example.com`: all below it), the first parts of a repository, a tag or a digest."""

    host: str
    path: str = ""
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        tail = (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")
        return f"{self.host}{'/' if self.path else ''}{self.path}{tail}"

    def matches(self, registry: str, repository: str, tag: str | None, digest: str | None) -> bool:
        """Say whether an image's name lies in this namespace."""
        if not _same_host(self.host, registry):
            return False
        if self.tag is None and self.digest is None:
            return not self.path or repository == self.path or repository.startswith(f"{self.path}/")
        return repository == self.path and self.tag in (None, tag) and self.digest in (None, digest)


class Mirror(Record):
    """One `[[registry.mirror]]`; `pull` is `all`, `digest-only` or `tag-only`."""

    location: Namespace
    insecure: bool = False
    pull: str = "all"


class RegistryRule(Record):
    """One `[[registry]]`; without a location, names stay as they are. `where` is its file and key."""

    prefix: Namespace
    location: Namespace | None
    insecure: bool = False
    blocked: bool = False
    mirrors: tuple[Mirror, ...] = ()
    where: str = field(default="", hash=False)


class RegistriesConf(Record):
    """What all files together say. `notes` are lines about what was ignored in them."""

    registries: tuple[RegistryRule, ...] = ()
    search: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)
    short_name_mode: str = "permissive"
    credential_helpers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, files: Sequence[str]) -> Self:
        """Read these files, later ones over earlier ones. Raises ConfigurationError with the file and the key."""
        conf = cls()
        for name in files:
            conf = conf.updated(_load(name), name)
        return conf

    def updated(self, document: Mapping[str, object], where: str) -> Self:
        """Give what holds when this parsed file comes on top. Raises ConfigurationError."""
        table = _Table(document, where, "")
        if "registries" in document:
            reason = "version 1 of registries.conf, which is not read; write its lists as [[registry]] tables"
            raise ConfigurationError(f"{where}: registries", f"{reason} (containers-registries.conf(5))")
        notes = [*self.notes, *table.unknown(_TOP)]
        rules: dict[Namespace, RegistryRule] = {}
        for entry in table.tables("registry"):
            rule = _registry(entry, notes)
            if rule.prefix in rules:
                notes.append(f"{entry.path}: the prefix {rule.prefix} stood before in this file; the first one counts")
                continue
            rules[rule.prefix] = rule
        changes: dict[str, object] = {
            "registries": tuple({**{rule.prefix: rule for rule in self.registries}, **rules}.values()),
            "aliases": {name: to for name, to in {**self.aliases, **_aliases(table)}.items() if to},
            "notes": tuple(notes),
        }
        if "unqualified-search-registries" in document:
            changes["search"] = tuple(_search(table))
        if "credential-helpers" in document:
            changes["credential_helpers"] = tuple(table.strings("credential-helpers"))
        mode = table.string("short-name-mode")
        if mode:
            if mode not in _MODES:
                raise table.error("short-name-mode", f"{show(mode)!r} is not one of {', '.join(_MODES)}")
            changes["short_name_mode"] = mode
        return self.replace(**changes)

    # What callers ask

    def endpoints(
        self,
        registry: str,
        repository: str,
        *,
        tag: str | None = None,
        digest: Digest | None = None,
        pull: bool,
    ) -> tuple[Endpoint, ...]:
        """Give the places of a repository in the order to ask them; mirrors are there for a pull only, and before it.

        A push goes where the name says, mirrors and other locations notwithstanding. ConfigurationError for what is
        blocked.
        """
        text = None if digest is None else str(digest)
        rule = self.rule(registry, repository, tag, text)
        if rule is None:
            return (Endpoint(location=registry, repository=repository),)
        if rule.blocked:
            raise ConfigurationError(rule.where, f"{registry}/{repository} is blocked there (prefix {rule.prefix})")
        if not pull:
            return (Endpoint(location=registry, repository=repository, insecure=rule.insecure),)
        found = []
        for mirror in rule.mirrors:
            if mirror.pull == "all" or (mirror.pull == "digest-only") == (digest is not None):
                found.append(_moved(rule, mirror.location, registry, repository, mirror.insecure, True))
        found.append(_moved(rule, rule.location, registry, repository, rule.insecure, False))
        return tuple(found)

    def rule(
        self, registry: str, repository: str, tag: str | None = None, digest: str | None = None
    ) -> RegistryRule | None:
        """Give the one table that is for a name: that with the longest prefix, a whole host before a wildcard."""
        matching = (rule for rule in self.registries if rule.prefix.matches(registry, repository, tag, digest))
        return max(matching, key=_closeness, default=None)

    def short_name(self, name: str) -> str | None:
        """Give the full name for which a short one stands, without tag or digest; None where nothing says it."""
        return self.aliases.get(name)


def _closeness(rule: RegistryRule) -> tuple[int, bool]:
    return len(str(rule.prefix)), not rule.prefix.host.startswith("*.")


def _moved(
    rule: RegistryRule, to: Namespace | None, registry: str, repository: str, insecure: bool, is_mirror: bool
) -> Endpoint:
    """The endpoint at which a rule's location has the repository: its own path, and what the prefix leaves over."""
    if to is None:
        return Endpoint(location=registry, repository=repository, insecure=insecure, is_mirror=is_mirror)
    rest = repository[len(rule.prefix.path) :].strip("/")
    moved = "/".join(part for part in (to.path, rest) if part)
    if to.host == DEFAULT_REGISTRY and moved and "/" not in moved:
        moved = f"library/{moved}"
    if not moved:
        raise ConfigurationError(rule.where, f"for {registry}/{repository} the location {to} leaves no repository over")
    return Endpoint(location=to.host, repository=moved, insecure=insecure, is_mirror=is_mirror)


# Reading


def _load(name: str) -> Mapping[str, object]:
    import tomllib  # takes some milliseconds, and few machines need it

    try:
        with open(name, "rb") as file:
            raw = file.read(MAX_CONF + 1)
    except OSError as error:
        raise ConfigurationError(name, f"can't be read: {(error.strerror or 'no reason given').lower()}") from None
    if len(raw) > MAX_CONF:
        raise ConfigurationError(name, f"longer than {MAX_CONF} bytes; that is no registries.conf")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(name, f"line {line} is not UTF-8") from None
    except RecursionError:
        raise ConfigurationError(name, "nested too deeply") from None
    except ValueError as error:  # what isn't TOML, with its line; and numbers of thousands of digits
        raise ConfigurationError(name, f"not TOML: {error}") from None


class _Table:
    """One table of a file, read by keys; errors say the file and the whole key."""

    def __init__(self, values: Mapping[str, object], file: str, key: str) -> None:
        self.values, self.file, self.key = values, file, key

    @property
    def path(self) -> str:
        return f"{self.file}: {self.key}" if self.key else self.file

    def _named(self, key: str) -> str:
        return f"{self.file}: {self.key}{'.' if self.key else ''}{key}"

    def error(self, key: str, reason: str) -> ConfigurationError:
        return ConfigurationError(self._named(key), reason)

    def string(self, key: str) -> str:
        value = self.values.get(key, "")
        if not isinstance(value, str):
            raise self.error(key, "not a string")
        return value

    def flag(self, key: str) -> bool:
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.error(key, "neither true nor false")
        return value

    def strings(self, key: str) -> list[str]:
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(key, "not an array of strings")
        return value

    def tables(self, key: str) -> Iterator[_Table]:
        value = self.values.get(key, [])
        dotted = f"{self.key.partition('[')[0]}.{key}".lstrip(".")
        for number, item in enumerate(value if isinstance(value, list) else [None]):
            if not isinstance(item, dict):
                raise self.error(key, f"not an array of tables; each begins with [[{dotted}]]")
            yield _Table(item, self.file, f"{self.key}.{key}[{number}]".lstrip("."))

    def unknown(self, known: Sequence[str]) -> Iterator[str]:
        for key in self.values:
            if key not in known:
                yield f"{self._named(show(key))}: no key that is known here; it is ignored"


def _registry(table: _Table, notes: list[str]) -> RegistryRule:
    if "pull-from-mirror" in table.values:
        raise table.error("pull-from-mirror", "it belongs into a [[registry.mirror]] table")
    notes += table.unknown(_OF_REGISTRY)
    location = _namespace(table, "location") if table.string("location") else None
    prefix = _namespace(table, "prefix", wildcard=True) if table.string("prefix") else location
    if prefix is None:
        raise ConfigurationError(table.path, "neither a prefix nor a location is there")
    if location is None and not prefix.host.startswith("*."):
        raise table.error("location", "it is missing; only a prefix like *.example.com can be without one")
    if location is not None:
        _check_tail(table, prefix, location, "location")
    by_digest = table.flag("mirror-by-digest-only")
    mirrors = []
    for entry in table.tables("mirror"):
        notes += entry.unknown(_OF_MIRROR)
        at = _namespace(entry, "location")
        _check_tail(entry, prefix, at, "location")
        pull = entry.string("pull-from-mirror")
        if pull and pull not in _PULLS:
            raise entry.error("pull-from-mirror", f"{show(pull)!r} is not one of {', '.join(_PULLS)}")
        if pull and by_digest:
            raise entry.error("pull-from-mirror", "it contradicts mirror-by-digest-only of its registry")
        pull = "digest-only" if by_digest else pull or "all"
        mirrors.append(Mirror(location=at, insecure=entry.flag("insecure"), pull=pull))
    return RegistryRule(
        prefix=prefix,
        location=None if location == prefix else location,
        insecure=table.flag("insecure"),
        blocked=table.flag("blocked"),
        mirrors=tuple(mirrors),
        where=table.path,
    )


def _check_tail(table: _Table, prefix: Namespace, location: Namespace, key: str) -> None:
    """A location may move a repository, but never a tag or digest: what is pulled would not be what was named."""
    if (location.tag, location.digest) not in ((None, None), (prefix.tag, prefix.digest)):
        raise table.error(key, f"{location} has another tag or digest than the prefix {prefix}")


def _namespace(table: _Table, key: str, *, wildcard: bool = False) -> Namespace:
    text = table.string(key)
    if not text:
        raise table.error(key, "it is missing")
    if "://" in text:
        raise table.error(key, f"{show(text)!r} is a URL; write HOST[:PORT][/PATH]")
    rest, at, digest = text.rstrip("/").partition("@")
    host, _, path = rest.partition("/")
    path, colon, tag = path.partition(":")
    plain = host.removeprefix("*.") if wildcard else host
    if not is_host(plain) or (path and not is_repository(path)) or ((colon or at) and not path):
        raise table.error(key, f"{show(text)!r} is not HOST[:PORT][/PATH]")
    if (colon and not is_tag(tag)) or (at and not is_digest(digest)):
        raise table.error(key, f"{show(text)!r} ends with what is neither a tag nor a digest")
    if plain != host and (path or ":" in host):
        raise table.error(key, f"{show(text)!r}: behind a wildcard stands a domain alone, like *.example.com")
    if host == "index.docker.io":
        host = DEFAULT_REGISTRY  # as in references
    return Namespace(host=host, path=path, tag=tag if colon else None, digest=digest if at else None)


def _search(table: _Table) -> Iterator[str]:
    for host in table.strings("unqualified-search-registries"):
        if not is_host(host.rstrip("/")):
            raise table.error("unqualified-search-registries", f"{show(host)!r} is not HOST[:PORT]")
        yield host.rstrip("/")


def _aliases(table: _Table) -> dict[str, str]:
    """Short names and what they stand for; an empty value takes an alias of an earlier file away."""
    values = table.values.get("aliases", {})
    if not isinstance(values, dict):
        raise table.error("aliases", 'not a table of "name" = "host/repository"')
    aliases = _Table(values, table.file, "aliases")
    found = {}
    for name in values:
        full = aliases.string(name)
        first = name.partition("/")[0]
        if not is_repository(name) or ("/" in name and ("." in first or first == "localhost")):
            raise aliases.error(show(name), "a short name has neither a host nor a tag")
        host, slash, repository = full.partition("/")
        if full and not (slash and is_host(host) and is_repository(repository)):
            raise aliases.error(show(name), f"{show(full)!r} is not HOST[:PORT]/REPOSITORY, without a tag")
        found[name] = full
    return found


def _same_host(pattern: str, host: str) -> bool:
    pattern, host = pattern.lower().removesuffix(":443"), host.lower().removesuffix(":443")
    if pattern.startswith("*."):
        return host.partition(":")[0].endswith(pattern[1:])
    return host == pattern
