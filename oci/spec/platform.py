"""Platforms, and which of an index's images runs on the wanted one (image-spec v1.1.1 image-index.md, `platform`).

The spec says what the fields are; which image is chosen is what containerd's platforms module does, because users'
indexes are made for it: spellings are normalised (`aarch64` is `arm64`), an ARM processor takes what is made for an
older one, amd64 takes lower levels and then 386, and Windows goes by the build number in `os.version`.
"""

from __future__ import annotations

from oci.errors import InvalidPlatform
from oci.lazily import re
from oci.spec.record import Record, field
from oci.spec.wire import Fields, put

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# For a single word: is it an operating system, or an architecture?
KNOWN_OS = frozenset(
    ("linux", "windows", "darwin", "macos", "freebsd", "netbsd", "openbsd", "solaris", "illumos", "aix")
)


class Platform(Record, kw_only=False):
    """What an image needs to run; `str()` gives `os/architecture[/variant]`."""

    os: str
    architecture: str
    variant: str | None = None
    os_version: str | None = field(default=None, kw_only=True)
    os_features: tuple[str, ...] = field(default=(), kw_only=True)
    extra: Mapping[str, object] = field(default_factory=dict, kw_only=True, hash=False)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `os/architecture[/variant]`, spellings normalised; `windows(10.0.17763)/amd64` gives an os.version.

        Raises InvalidPlatform.
        """
        parts = text.split("/")
        if len(parts) == 1:
            other = f"{text}/amd64" if text.lower() in KNOWN_OS else f"linux/{text}"
            raise InvalidPlatform(text, f"expected os/architecture[/variant], such as {other}")
        if len(parts) > 3:
            raise InvalidPlatform(text, "expected os/architecture[/variant], such as linux/arm64/v8")
        match = re.fullmatch(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]+)\))?", parts[0])
        if match is None or not all(re.fullmatch(r"[A-Za-z0-9_.-]+", part) for part in parts[1:]):
            raise InvalidPlatform(text, "letters, digits, '_', '-' and '.' only, such as linux/arm64/v8")
        variant = parts[2] if len(parts) == 3 else None
        platform = cls(match[1], parts[1], variant, os_version=match[2]).normalized()
        if variant is None and platform.architecture == "arm" and parts[1].lower() == "arm":
            return platform.replace(variant=None)  # as containerd: said without a variant, kept without
        return platform

    @classmethod
    def from_json(cls, value: object, pointer: str = "", *, document: str = "platform") -> Platform:
        """Read the `platform` object of a descriptor. Raises InvalidDocument."""
        return cls.from_fields(Fields(value, document=document, pointer=pointer), own=True)

    @classmethod
    def from_fields(cls, fields: Fields, *, own: bool) -> Platform:
        """Take the platform's fields; with `own`, what is left over in the object belongs to the platform too."""
        return cls(
            os=fields.string("os"),
            architecture=fields.string("architecture"),
            variant=fields.optional_string("variant"),
            os_version=fields.optional_string("os.version"),
            os_features=fields.optional_strings("os.features") or (),
            extra=fields.extra() if own else {},
        )

    def to_json(self) -> dict[str, object]:
        """The `platform` object of a descriptor, in the spec's order."""
        value: dict[str, object] = {"architecture": self.architecture, "os": self.os}
        put(value, "os.version", self.os_version)
        put(value, "os.features", list(self.os_features) or None)
        put(value, "variant", self.variant)
        value.update(self.extra)
        return value

    def normalized(self) -> Platform:
        """The platform in the one spelling that is compared: Go's names, no variant that goes without saying."""
        os = self.os.lower()
        architecture, variant = _normal_architecture(self.architecture.lower(), (self.variant or "").lower())
        return self.replace(
            os="darwin" if os == "macos" else os,
            architecture=architecture,
            variant=variant or None,
            os_features=tuple(sorted(set(self.os_features))),
        )

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


_ALIASES = {"i386": "386", "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}


def _normal_architecture(architecture: str, variant: str) -> tuple[str, str]:
    if architecture == "armhf":
        return "arm", "v7"
    if architecture == "armel":
        return "arm", "v6"
    if architecture == "i386":
        return "386", ""
    architecture = _ALIASES.get(architecture, architecture)
    if architecture == "amd64" and variant == "v1":
        variant = ""
    elif architecture == "arm64":
        if variant in ("8", "v8", "v8.0"):
            variant = ""
        elif variant in ("9", "9.0", "v9.0"):
            variant = "v9"
    elif architecture == "arm":
        variant = f"v{variant}" if variant in ("5", "6", "7", "8") else variant or "v7"
    return architecture, variant


def choose(wanted: Platform, candidates: Sequence[Platform | None]) -> int | None:
    """The number of the candidate that runs best on `wanted`; None where none does.

    Of equals the one with more of the wanted os.features, then the first, is taken. A candidate without a platform is
    taken only where nothing else fits: what it is made for stands in its config.
    """
    normal = [None if candidate is None else candidate.normalized() for candidate in candidates]
    best: tuple[int, int, int] | None = None
    for rank, accepted in enumerate(_accepted(wanted.normalized())):
        for number, candidate in enumerate(normal):
            if candidate is not None and _matches(accepted, candidate):
                key = (rank, -len(candidate.os_features), number)
                best = key if best is None else min(best, key)
        if best is not None:
            return best[2]
    return normal.index(None) if None in normal else None


def matches(wanted: Platform, candidate: Platform) -> bool:
    """Whether an image made for `candidate` runs on `wanted`."""
    return choose(wanted, [candidate]) is not None


def _accepted(wanted: Platform) -> Iterator[Platform]:
    """What runs on a (normalised) platform, best first."""
    yield wanted
    variant = wanted.variant or ""
    if wanted.architecture == "amd64":
        if re.fullmatch(r"v[0-9]{1,3}", variant):
            for level in range(int(variant[1:]) - 1, 1, -1):
                yield wanted.replace(variant=f"v{level}")
            yield wanted.replace(variant=None)
        yield wanted.replace(architecture="386", variant=None)
    elif wanted.architecture == "arm":
        if re.fullmatch(r"v[0-9]{1,3}", variant):
            for level in range(min(int(variant[1:]), 9) - 1, 4, -1):
                yield wanted.replace(variant=f"v{level}")
    elif wanted.architecture == "arm64":
        steps = list(_arm64_steps(variant or "v8"))
        for step in steps[1:]:
            yield wanted.replace(variant=step or None)
        if steps:  # a known 64-bit processor runs 32-bit programs, up to v8
            for level in range(8, 4, -1):
                yield wanted.replace(architecture="arm", variant=f"v{level}")


def _arm64_steps(variant: str) -> Iterator[str]:
    """`v9.2` → v9.2, v9.1, v9, v8.7, … v8.1, and "" for v8: a v9.N has all that v8.(N+5) has, at most v8.9."""
    match = re.fullmatch(r"v([89])(?:\.([0-9]))?", variant)
    if match is None:
        return
    major, minor = int(match[1]), int(match[2] or 0)
    ladder = [(9, minor), (8, min(minor + 5, 9))] if major == 9 else [(8, minor)]
    for step_major, top in ladder:
        for step in range(top, -1, -1):
            yield f"v{step_major}.{step}" if step else ("v9" if step_major == 9 else "")


def _matches(accepted: Platform, candidate: Platform) -> bool:
    """Both normalised: the same words, no feature that is not offered, and on Windows a build that the host can run."""
    if (accepted.os, accepted.architecture, accepted.variant) != (
        candidate.os,
        candidate.architecture,
        candidate.variant,
    ):
        return False
    features = set(candidate.os_features)
    if candidate.os == "windows":
        features.discard("win32k")  # as containerd: Nano Server is the only host without it
        if not _windows_runs(accepted.os_version, candidate.os_version):
            return False
    return features <= set(accepted.os_features)


# Windows releases from which on a host also runs the containers of the release before it.
_STABLE_BUILDS = (20348, 26100)  # Server 2022, Server 2025


def _windows_runs(host_version: str | None, version: str | None) -> bool:
    """Whether a Windows host runs a container of this `os.version`; an unknown version is not held against it."""
    host = _windows_version(host_version)
    if host is None or not version:
        return True
    guest = _windows_version(version) or (0, 0, 0)
    if host[:2] != guest[:2]:
        return False
    if host[2] < _STABLE_BUILDS[0]:
        return host[2] == guest[2]
    newest = max(number for number, build in enumerate(_STABLE_BUILDS) if build <= host[2])
    return _STABLE_BUILDS[max(newest - 1, 0)] <= guest[2] <= host[2]


def _windows_version(text: str | None) -> tuple[int, int, int] | None:
    match = re.match(r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,5})(?:\.|$)", text or "")
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))
