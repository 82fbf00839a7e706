"""Image references: the words by which a user names an image, in the syntax of containers-transports(5).

=====================================  ====================================================================
`oci:PATH[:TAG][@DIGEST]`              an image layout directory; `./PATH…`, `../PATH…` and `/PATH…` are short for it
`oci-archive:FILE[:TAG][@DIGEST]`      the same as one tar file
`docker-archive:FILE[:NAME[:TAG]]`     a `docker save` tar
`docker://[HOST[:PORT]/]REPO[:TAG][@DIGEST]`  a registry; names are normalised as Docker does
`NAME[:TAG][@DIGEST]`, an ID or its prefix    the local store
=====================================  ====================================================================

PATH ends at the first ":", as in containers-transports(5); it can't hold one. `str()` of each reference gives text that
reads back as the same reference. Nothing here touches files or the network.
"""

from __future__ import annotations

from oci.errors import InvalidDigest, InvalidReference
from oci.lazily import re
from oci.spec.annotations import is_ref_name, is_separated, is_tag
from oci.spec.digest import ENCODED_LENGTH, Digest
from oci.spec.record import Record

MAX_REFERENCE = 8192  # characters: a path (4096) and the longest name, with room
MAX_REPOSITORY = 255  # distribution's reference grammar: the length of a repository name with its host

DEFAULT_REGISTRY = "docker.io"
HUB_HOSTS = (DEFAULT_REGISTRY, "index.docker.io", "registry-1.docker.io")  # one registry; the last is where it answers
DEFAULT_TAG = "latest"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_HOST_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_SEPARATORS = str.maketrans("._-", "///")


class LayoutRef(Record, kw_only=False):
    """An image in a layout directory."""

    path: str
    tag: str | None = None
    digest: Digest | None = None

    def __str__(self) -> str:
        return f"oci:{self.path}{_tail(self.tag, self.digest)}"


class ArchiveRef(Record, kw_only=False):
    """An image in a layout that is one tar file."""

    path: str
    tag: str | None = None
    digest: Digest | None = None

    def __str__(self) -> str:
        return f"oci-archive:{self.path}{_tail(self.tag, self.digest)}"


class DockerArchiveRef(Record, kw_only=False):
    """An image in a `docker save` tar; `name` is NAME:TAG as the user wrote it, the tag filled in, or None."""

    path: str
    name: str | None = None

    def __str__(self) -> str:
        return f"docker-archive:{self.path}{'' if self.name is None else ':' + self.name}"


class RegistryRef(Record, kw_only=False):
    """An image in a registry, fully named; at least one of `tag` and `digest` is there."""

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """`docker.io/library/alpine:latest`: the whole name without the transport."""
        return f"{self.registry}/{self.repository}{_tail(self.tag, self.digest)}"

    @property
    def familiar(self) -> str:
        """The name as Docker's users write it: `alpine:latest`."""
        return (
            self.name.removeprefix("docker.io/").removeprefix("library/") if self.registry == "docker.io" else self.name
        )

    def __str__(self) -> str:
        return f"docker://{self.name}"


class StoreRef(Record, kw_only=False):
    """An image in the local store: a name as the user wrote it, or (a prefix of) an image ID."""

    name: str

    @property
    def normalized(self) -> RegistryRef | None:
        """The name as Docker fills it in; None where it can only be an ID."""
        return None if _is_id(self.name) else parse_name(self.name)

    def __str__(self) -> str:
        return self.name


Reference = LayoutRef | ArchiveRef | DockerArchiveRef | RegistryRef | StoreRef

_SUGGESTIONS = {
    "dir": "use oci:PATH",
    "oci-layout": "use oci:PATH",
    "oci-dir": "use oci:PATH",
    "ocidir": "use oci:PATH",
    "docker-daemon": "save the image with `docker save` and use docker-archive:FILE",
    "containers-storage": "copy the image to oci:PATH with its own tool first",
    "http": "use docker://HOST/REPO",
    "https": "use docker://HOST/REPO",
    "registry": "use docker://HOST/REPO",
    "docker": "use docker://HOST/REPO",
    "tarball": "use oci-archive:FILE or docker-archive:FILE",
}
_TRANSPORTS = ("oci", "oci-archive", "docker-archive", "docker")


def parse_reference(text: str) -> Reference:
    """Read a reference. Raises InvalidReference with what to write instead."""
    if not text:
        raise InvalidReference(text, "it is empty")
    if len(text) > MAX_REFERENCE:
        raise InvalidReference(text, f"longer than {MAX_REFERENCE} characters")
    if any(character < " " or character == "\x7f" for character in text):
        raise InvalidReference(text, "it has control characters")
    if text in (".", "..") or text.startswith(("/", "./", "../")):
        return _layout(text, text)
    transport, colon, rest = text.partition(":")
    if transport == "oci" and colon:
        return _layout(text, rest)
    if transport == "oci-archive" and colon:
        return ArchiveRef(*_path_tag_digest(text, rest, "FILE"))
    if transport == "docker-archive" and colon:
        return _docker_archive(text, rest)
    if transport == "docker" and rest.startswith("//"):
        return parse_name(rest[2:], text)
    if colon and rest.startswith(("/", "./", "../")):
        raise InvalidReference(text, f"unknown transport {transport!r}; {_suggest(transport)}")
    if not _is_id(text):
        parse_name(text)
    return StoreRef(text)


def familiar(name: str) -> str:
    """A whole name as Docker's users write it: without docker.io/ and library/; what is no name stays as it is."""
    try:
        return parse_name(name).familiar
    except InvalidReference:
        return name


def parse_name(name: str, text: str | None = None) -> RegistryRef:
    """Read `[HOST[:PORT]/]REPO[:TAG][@DIGEST]` as Docker does: `alpine` is `docker.io/library/alpine:latest`.

    `text` is the whole of what the user wrote, for the message. Raises InvalidReference.
    """
    text = name if text is None else text
    rest, at, digest_text = name.partition("@")
    digest = _digest(text, digest_text) if at else None
    host, slash, repository = rest.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, repository = DEFAULT_REGISTRY, rest
    repository, colon, tag = repository.partition(":")
    if host == "index.docker.io":
        host = DEFAULT_REGISTRY
    if host == DEFAULT_REGISTRY and "/" not in repository:
        if _is_hash(repository):
            raise InvalidReference(text, "64 hexadecimal digits are an image ID, not a repository")
        repository = f"library/{repository}" if repository else ""
    if host != DEFAULT_REGISTRY and re.fullmatch(_HOST, host) is None:
        raise InvalidReference(text, f"{host!r} is not HOST[:PORT]")
    port = re.search(r":([0-9]+)$", host) if ":" in host else None
    if port and not (len(port[1]) < 6 and 0 < int(port[1]) < 65536):
        raise InvalidReference(text, f"there is no port {port[1]}")
    _check_repository(text, host, repository)
    if colon and not is_tag(tag):
        raise InvalidReference(
            text, "a tag is 1 to 128 letters, digits, '_', '.' and '-', not beginning with '.' or '-'"
        )
    return RegistryRef(host, repository, tag if colon else (None if digest else DEFAULT_TAG), digest)


def is_host(text: str) -> bool:
    """Whether this is a registry's HOST[:PORT] by the grammar of Docker's references."""
    return len(text) <= MAX_REPOSITORY and re.fullmatch(_HOST, text) is not None


def has_tag(name: str) -> bool:
    """Whether a tag was written in `[HOST[:PORT]/]REPO[:TAG][@DIGEST]`: a RegistryRef gets one without."""
    return ":" in name.partition("@")[0].rpartition("/")[2]


def canonical(host: str) -> str:
    """The one name that a registry has here: Docker Hub answers to three."""
    host = host.lower()
    return DEFAULT_REGISTRY if host in HUB_HOSTS else host


def is_repository(name: str) -> bool:
    """Whether this is a repository's name by the grammar of distribution-spec v1.1.1 spec.md#pulling-manifests."""
    return len(name) <= MAX_REPOSITORY and _is_path(name)


def _is_path(name: str) -> bool:
    """Nearly every repository's name is words with single separators: that takes no regular expression."""
    plain = name == name.lower() and is_separated(name.translate(_SEPARATORS))
    return plain or re.fullmatch(_REPOSITORY, name) is not None


def _check_repository(text: str, host: str, repository: str) -> None:
    if not repository:
        raise InvalidReference(text, "the repository's name is missing")
    if not _is_path(repository):
        if repository != repository.lower() and _is_path(repository.lower()):
            raise InvalidReference(text, f"a repository's name is lower case; try {repository.lower()!r}")
        raise InvalidReference(
            text, "a repository's name is lower-case letters and digits, with single '.', '_', '/' or '-' between"
        )
    if len(host) + 1 + len(repository) > MAX_REPOSITORY:
        raise InvalidReference(text, f"the repository's name is longer than {MAX_REPOSITORY} characters")


def _layout(text: str, rest: str) -> LayoutRef:
    return LayoutRef(*_path_tag_digest(text, rest, "PATH"))


def _path_tag_digest(text: str, rest: str, what: str) -> tuple[str, str | None, Digest | None]:
    digest = None
    head, at, tail = rest.rpartition("@")
    # A path or tag may hold "@" itself: only the name of a registered algorithm makes it a digest.
    if at and tail.partition(":")[0] in ENCODED_LENGTH and ":" in tail:
        rest, digest = head, _digest(text, tail)
    path, colon, tag = rest.partition(":")
    if not path:
        raise InvalidReference(text, f"{what} is missing")
    if colon and not _is_layout_tag(tag):
        raise InvalidReference(
            text, "a tag is letters and digits, with single '-', '.', '_', ':', '@', '+' or '/' between"
        )
    return path, tag if colon else None, digest


def _is_layout_tag(tag: str) -> bool:
    """A `ref.name` by its own grammar, a registry's tag, or a whole image name: tools write all three."""
    if is_ref_name(tag) or is_tag(tag):
        return True
    try:
        parse_name(tag)
    except InvalidReference:
        return False
    return True


def _docker_archive(text: str, rest: str) -> DockerArchiveRef:
    path, colon, name = rest.partition(":")
    if not path:
        raise InvalidReference(text, "FILE is missing")
    if not colon:
        return DockerArchiveRef(path)
    reference = parse_name(name, text)
    if reference.digest is not None:
        raise InvalidReference(text, "a docker-archive holds names with tags, not digests")
    if ":" in name.rpartition("/")[2]:
        return DockerArchiveRef(path, name)
    return DockerArchiveRef(path, f"{name}:{DEFAULT_TAG}")


def _digest(text: str, digest: str) -> Digest:
    try:
        return Digest.parse(digest)
    except InvalidDigest as error:
        raise InvalidReference(text, f"behind '@' stands no digest: {error.reason}") from None


def _is_id(name: str) -> bool:
    """A whole image ID: as a name it would never be right. (A prefix may be a name too; the store tries both.)"""
    return _is_hash(name.removeprefix("sha256:"))


def _is_hash(text: str) -> bool:
    return len(text) == 64 and not text.strip("0123456789abcdef")


def _suggest(transport: str) -> str:
    if transport in _SUGGESTIONS:
        return _SUGGESTIONS[transport]
    from difflib import get_close_matches  # only to word an error

    close = get_close_matches(transport, _TRANSPORTS, n=1)
    if close:
        return f"did you mean {close[0]}:{'//' if close[0] == 'docker' else ''}…?"
    return "known are oci:, oci-archive:, docker-archive: and docker://"


def _tail(tag: str | None, digest: Digest | None) -> str:
    return ("" if tag is None else f":{tag}") + ("" if digest is None else f"@{digest}")
