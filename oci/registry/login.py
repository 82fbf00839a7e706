"""Logging in and out: credentials are checked at the registry, then kept in a file or handed to a helper.

The file is podman's auth.json or docker's config.json. It is changed in one place only, and written whole beside itself
and renamed, with the mode 0600 from its first byte on; a symbolic link stays one, and what it points to is replaced. A
link that somebody else made is not followed. Two logins at once wait for each other.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from oci.auth.credential import Credentials
from oci.auth.credential_files import HUB_KEY, AuthFile, Place, host_of_key, read_bytes
from oci.auth.credential_helpers import Helpers
from oci.auth.credentials import FILES, Fixed, helper_keys
from oci.auth.json_edit import edited
from oci.errors import AuthenticationFailed, ConfigurationError, show
from oci.registry.client import Client
from oci.registry.connect import api_host
from oci.registry.settings import Settings
from oci.spec.reference import DEFAULT_REGISTRY, canonical
from oci.streams.atomic import AtomicFile

__all__ = ["check", "forget", "forget_all", "keep"]

MAX_LINKS = 8  # symbolic links in a row


def check(host: str, credentials: Credentials, settings: Settings) -> None:
    """See whether a registry takes these credentials; AuthenticationFailed if not.

    `GET /v2/` is what the spec has for it (spec.md#determining-support). A registry that lets anybody in is shown the
    credentials all the same: some of them refuse wrong ones.
    """
    what = f"login to {show(host)}"
    try:
        with _client(host, settings.replace(credentials=Fixed(host, credentials))) as client:
            client.request("GET", "/v2/", what=what).discard()
            if not client.known:
                client.authorizer().offer()
                client.request("GET", "/v2/", what=what).discard()
    except AuthenticationFailed as error:
        reason = error.reason.removesuffix(f": `ocikit login {canonical(host)}`")  # which is what we are at
        raise AuthenticationFailed(error.url, reason, status=error.status) from None


def _client(host: str, settings: Settings) -> Client:
    """A client for the host itself, wherever registries.conf has its repositories: credentials are kept by host."""
    insecure = False
    if settings.registries is not None:
        endpoints = settings.registries.endpoints(host, "x", tag=None, digest=None, pull=False)
        insecure = any(endpoint.insecure and endpoint.location == host for endpoint in endpoints)
    return Client(api_host(host), settings, insecure=insecure)


def keep(place: Place, name: str, credentials: Credentials, helpers: Helpers, *, order: Sequence[str] = ()) -> str:
    """Keep credentials for HOST or HOST/PART; give where they are now, in words.

    Where the file names a helper for this host, it gets them; so does the first helper of registries.conf (`order`).
    """
    host = name.partition("/")[0]
    if order and order[0] != FILES:
        helpers.store(order[0], _whole(name, order[0], "registries.conf"), credentials)
        return f"the credential helper {order[0]}"
    file = AuthFile.read(place.replace(required=False)) or AuthFile(path=place.path)
    helper = file.helper_for(host) or file.store
    if helper is not None:
        _whole(name, helper, place.path)
        helpers.store(helper, next(helper_keys(file, host)), credentials)
        if file.helper_for(host) is None:
            _change(place, lambda text: edited(text, ("auths", _key(file, name)), {}))  # as docker marks it
        return f"the credential helper {helper}"
    entry: dict[str, Any] = {}
    if credentials.username or credentials.password:
        pair = f"{credentials.username}:{credentials.password}".encode("utf-8", "surrogateescape")
        entry["auth"] = b64encode(pair).decode()
    if credentials.identity_token is not None:
        entry["identitytoken"] = credentials.identity_token

    def change(text: str) -> str:
        for other in _keys_of_entry(AuthFile.parse(text.encode(), place), name):
            if other != _key(file, name):
                text = edited(text, ("auths", other), None)  # an older spelling of the same would contradict
        return edited(text, ("auths", _key(file, name)), entry)

    _change(place, change)
    return place.path


def _whole(name: str, helper: str, named_by: str) -> str:
    """Give the key of a host; helpers know no parts of one."""
    if "/" in name:
        raise ConfigurationError(named_by, f"docker-credential-{helper} keeps whole hosts, not {show(name)}")
    return next(helper_keys(None, name))


def forget(place: Place, name: str, helpers: Helpers, *, order: Sequence[str] = ()) -> bool:
    """Forget the credentials for HOST or HOST/PART; False where there were none."""
    host, _, part = name.partition("/")
    was = False
    for helper in order:
        if helper != FILES and not part and helpers.find(helper) is not None:
            was = helpers.erase(helper, next(helper_keys(None, host))) or was
    return _forget_in_file(place, name, helpers) or was


def _forget_in_file(place: Place, name: str, helpers: Helpers) -> bool:
    file = AuthFile.read(place.replace(required=False))
    if file is None:
        return False
    host, _, part = name.partition("/")
    helper = file.helper_for(host) or file.store
    was = False
    if helper is not None and not part and (file.helper_for(host) is not None or helpers.find(helper) is not None):
        was = sum(helpers.erase(helper, key) for key in helper_keys(file, host)) > 0
    keys = _keys_of_entry(file, name)
    if keys:

        def change(text: str) -> str:
            for key in keys:
                text = edited(text, ("auths", key), None)
            return text

        _change(place, change)
    return was or bool(keys)


def forget_all(place: Place, helpers: Helpers) -> int:
    """Forget all credentials that a file has, or that its helpers have for it; give how many."""
    file = AuthFile.read(place.replace(required=False))
    if file is None:
        return 0
    count = sum(helpers.erase(helper, key) for key, helper in file.helpers.items())
    if file.store is not None and helpers.find(file.store) is not None:
        for key in file.auths:
            helpers.erase(file.store, key)
    if file.auths:
        _change(place, lambda text: edited(text, ("auths",), {}))
    return count + len(file.auths)


def _key(file: AuthFile, name: str) -> str:
    """Give the key under which this file's programs look for HOST or HOST/PART."""
    host, slash, part = name.partition("/")
    if canonical(host) != DEFAULT_REGISTRY:
        return name
    return HUB_KEY if file.is_docker and not slash else f"{DEFAULT_REGISTRY}{slash}{part}"


def _keys_of_entry(file: AuthFile, name: str) -> list[str]:
    """Give all keys that stand for HOST or HOST/PART in this file."""
    if "/" in name:
        return [key for key in (_key(file, name),) if key in file.auths]
    return [key for key in file.auths if host_of_key(key) == canonical(name)]


# The file


def _change(place: Place, change: Callable[[str], str]) -> None:
    """Read the file, change its text, and put the new one in its place; nobody else does meanwhile."""
    path = _real(place.path)
    folder = os.path.dirname(path) or "."
    try:
        _make_folders(folder)
        with _locked(folder):
            raw = read_bytes(Place(path)) or b""
            fresh = not raw.strip()
            AuthFile.parse(raw, place)  # it may be another file than a moment ago
            text = "{}" if fresh else raw.decode()
            new = change(text)
            if fresh:
                new += "\n"
            if new != text:
                _write(path, new.encode())
    except OSError as error:
        raise ConfigurationError(place.path, f"can't be written: {(error.strerror or 'unknown').lower()}") from None


def _make_folders(path: str) -> None:
    """Make a directory and those above it for us alone; `os.makedirs` leaves the upper ones to the umask."""
    if path and not os.path.isdir(path):
        _make_folders(os.path.dirname(path))
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)


def _write(path: str, data: bytes) -> None:
    with AtomicFile(path, mode=0o600) as file:
        os.fchmod(file.fileno(), 0o600)
        with suppress(FileNotFoundError):
            old = os.stat(path)
            if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                with suppress(PermissionError):  # root writes into a user's file: it stays the user's
                    os.fchown(file.fileno(), old.st_uid, old.st_gid)
        file.write(data)
        file.commit()


def _real(path: str) -> str:
    """Follow a symbolic link, if it is ours, root's, or the directory's owner's."""
    for _ in range(MAX_LINKS):
        try:
            link = os.lstat(path)
            target = os.readlink(path)
        except (FileNotFoundError, NotADirectoryError):
            return path
        except OSError:
            return path  # no link
        folder = os.path.dirname(path) or "."
        if link.st_uid not in (os.geteuid(), 0, os.stat(folder).st_uid):
            raise ConfigurationError(path, "a symbolic link that belongs to another user; not followed")
        path = os.path.join(folder, target)
    raise ConfigurationError(path, "too many symbolic links in a row")


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Hold the directory's lock: it leaves no file of ours beside podman's and docker's."""
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks: the rename is atomic still
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
