"""Files with credentials: containers-auth.json(5), docker's config.json, and ~/.dockercfg before it.

::

    {"auths": {"quay.io/team/app": {"auth": "base64 of USER:PASSWORD"}, "quay.io": {"identitytoken": "…"}},
     "credHelpers": {"gcr.io": "gcloud"},
     "credsStore": "secretservice"}

Keys of `auths` are a host, or a host with a part of a repository's name; docker wrote URLs too, and for Docker Hub
always writes https://index.docker.io/v1/. A `credHelpers` entry counts for a host, `credsStore` for all. An empty entry
is docker's mark of a login that a helper keeps. `.dockercfg` is the object `auths` alone.
"""

from __future__ import annotations

import os
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator, Mapping
from typing import Self

from oci.auth.credential import Credentials
from oci.errors import ConfigurationError, InvalidDocument, LimitExceeded, show
from oci.spec.record import Record, field
from oci.spec.reference import DEFAULT_REGISTRY, HUB_HOSTS, canonical
from oci.spec.wire import Fields, loads

__all__ = [
    "HUB_KEY",
    "AuthFile",
    "Place",
    "config_home",
    "host_of_key",
    "keys_of",
    "place_to_write",
    "places_to_read",
    "read_bytes",
]

MAX_FILE = 4 << 20  # bytes: some thousand logins

HUB_KEY = "https://index.docker.io/v1/"  # how docker has called Docker Hub since it had no other


class Place(Record, kw_only=False):
    """A file where credentials may be. One that is `named` by the user must be readable, if it is there."""

    path: str
    legacy: bool = False  # .dockercfg
    named: bool = False
    required: bool = False  # an error, where it is not there


def places_to_read(environ: Mapping[str, str], *, uid: int, authfile: str | None = None) -> tuple[Place, ...]:
    """Give the files to look into, in order, by the words of an environment.

    `authfile`, REGISTRY_AUTH_FILE, or else DOCKER_CONFIG stand alone, as with podman and docker. Otherwise podman's
    file of this session, podman's and docker's in the home directory.
    """
    if authfile:
        return (Place(authfile, named=True, required=True),)
    if environ.get("REGISTRY_AUTH_FILE"):
        return (Place(environ["REGISTRY_AUTH_FILE"], named=True),)
    if environ.get("DOCKER_CONFIG"):
        return (Place(f"{environ['DOCKER_CONFIG'].rstrip('/')}/config.json", named=True),)
    places = [Place(_of_session(environ, uid))]
    config, home = config_home(environ), environ.get("HOME", "")
    if config:
        places.append(Place(f"{config}/containers/auth.json"))
    if home.startswith("/"):
        places += [Place(f"{home}/.docker/config.json"), Place(f"{home}/.dockercfg", legacy=True)]
    return tuple(places)


def place_to_write(environ: Mapping[str, str], *, uid: int, authfile: str | None = None) -> Place:
    """Give the file that a login goes to: the first of those that are read, or one that this user can have."""
    first = places_to_read(environ, uid=uid, authfile=authfile)[0]
    if first.named or uid == 0 or environ.get("XDG_RUNTIME_DIR", "").startswith("/"):
        return first.replace(required=False)
    config = config_home(environ)
    if not config:
        raise ConfigurationError("login", "no place to keep credentials: HOME is not set; give --authfile FILE")
    return Place(f"{config}/containers/auth.json")


def _of_session(environ: Mapping[str, str], uid: int) -> str:
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        return f"{runtime.rstrip('/')}/containers/auth.json"
    return f"/run/containers/{uid}/auth.json"


def config_home(environ: Mapping[str, str]) -> str:
    """$XDG_CONFIG_HOME, else ~/.config; empty where nobody is at home."""
    said, home = environ.get("XDG_CONFIG_HOME", ""), environ.get("HOME", "")
    if said.startswith("/"):
        return said.rstrip("/")
    return f"{home.rstrip('/')}/.config" if home.startswith("/") else ""


class AuthFile(Record):
    """What one file says. `auths` is as found: an entry is read when it is wanted, and a bad one then is an error."""

    path: str
    auths: Mapping[str, Mapping[str, object]] = field(default_factory=dict, hash=False)
    helpers: Mapping[str, str] = field(default_factory=dict, hash=False)
    store: str | None = None
    legacy: bool = False

    def __repr__(self) -> str:
        return f"AuthFile({self.path!r}, …)"

    @classmethod
    def read(cls, place: Place) -> Self | None:
        """Read a file; None where there is none. ConfigurationError for one that can't be read or understood."""
        raw = read_bytes(place)
        return None if raw is None else cls.parse(raw, place)

    @classmethod
    def parse(cls, raw: bytes, place: Place) -> Self:
        """Understand the bytes of a file."""
        try:
            value = loads(raw if raw.strip() else b"{}", document=place.path, limit=MAX_FILE)
            fields = Fields(value, document=place.path, null_is_absent=True)
            if place.legacy:
                return cls(path=place.path, auths=_entries(fields), legacy=True)
            auths = fields.optional_object("auths")
            return cls(
                path=place.path,
                auths={} if auths is None else _entries(auths),
                helpers=fields.optional_string_map("credHelpers") or {},
                store=fields.optional_string("credsStore") or None,
            )
        except InvalidDocument as error:
            where = f"{show(place.path)}{' at ' + show(error.pointer) if error.pointer else ''}"
            raise ConfigurationError(where, error.reason) from None
        except LimitExceeded as error:
            raise ConfigurationError(place.path, str(error)) from None

    @property
    def is_docker(self) -> bool:
        """Whether docker reads it too, and so wants Docker Hub under its own key."""
        return os.path.basename(self.path) == "config.json"

    def helper_for(self, host: str) -> str | None:
        """Give the helper that keeps this host's credentials by `credHelpers`."""
        for key, name in self.helpers.items():
            if host_of_key(key) == canonical(host):
                return name
        return None

    def keys_for(self, host: str, repository: str | None) -> Iterator[str]:
        """Give the keys of entries for a repository, the most special one first."""
        if not self.legacy:
            for key in keys_of(host, repository):
                if key in self.auths:
                    yield key
        for key in self.auths:  # what docker wrote: URLs, and Docker Hub's other names
            if host_of_key(key, legacy=self.legacy) == canonical(host):
                yield key

    def entry(self, key: str) -> Credentials | None:
        """Read one entry; None for an empty one. Nothing of it is shown in the error for a bad one."""
        fields = Fields(self.auths[key], null_is_absent=True)
        try:
            auth, token = fields.optional_string("auth"), fields.optional_string("identitytoken")
            user, password = fields.optional_string("username") or "", fields.optional_string("password") or ""
        except InvalidDocument as error:
            raise self._bad(key, f"{error.pointer}: {error.reason}") from None
        if auth:
            user, password = self._decode(key, auth)
        if not (user or password or token):
            return None
        return Credentials(username=user, password=password, identity_token=token or None)

    def _decode(self, key: str, auth: str) -> tuple[str, str]:
        try:
            pair = b64decode("".join(auth.split()).encode("ascii", "replace"), validate=True)
        except NotBase64:
            raise self._bad(key, "`auth` is not Base64") from None
        if not pair:
            return "", ""
        user, colon, password = pair.partition(b":")
        if not colon:
            raise self._bad(key, "`auth` is not the Base64 of USER:PASSWORD")
        # Old versions of docker left NUL bytes behind the password.
        return _text(user), _text(password.strip(b"\0"))

    def _bad(self, key: str, reason: str) -> ConfigurationError:
        return ConfigurationError(self.path, f"the entry of {show(key)}: {reason}")


def read_bytes(place: Place) -> bytes | None:
    """Give the bytes of a file; None where there is none."""
    try:
        with open(place.path, "rb") as file:
            raw = file.read(MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        if place.required:
            raise ConfigurationError(place.path, "no such file") from None
        return None
    except OSError as error:
        raise ConfigurationError(place.path, f"can't be read: {(error.strerror or 'unknown').lower()}") from None
    if len(raw) > MAX_FILE:
        raise ConfigurationError(place.path, f"longer than {MAX_FILE} bytes")
    return raw


def keys_of(host: str, repository: str | None) -> Iterator[str]:
    """Give the keys for a repository, HOST/a/b, HOST/a, HOST, for each name of the registry."""
    names = HUB_HOSTS if canonical(host) == DEFAULT_REGISTRY else (host,)
    parts = repository.split("/") if repository else []
    for count in range(len(parts), -1, -1):
        for name in names:
            yield "/".join([name, *parts[:count]])


def host_of_key(key: str, *, legacy: bool = False) -> str:
    """Give the host that a key is for as a whole: docker's URLs lose their scheme and path; HOST/a is for no host."""
    bare = key.removeprefix("http://").removeprefix("https://")
    if legacy or bare != key:
        bare = bare.partition("/")[0]
    return canonical(bare)


def _entries(fields: Fields) -> Mapping[str, Mapping[str, object]]:
    found: dict[str, Mapping[str, object]] = {}
    for key, value in fields.extra().items():
        if value is not None and not isinstance(value, dict):
            raise fields.fault(key, "expected an object")
        found[key] = value or {}
    return found


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
