"""Where user names and passwords come from: files and helpers, in the order of podman and docker.

Each file in turn is asked for the most special entry: HOST/a/b before HOST/a before HOST. A helper of `credHelpers`
speaks for its host in place of the file's own entries, a `credsStore` before the host's own entry. The first that has
something is taken. `credential-helpers` of registries.conf (containers-registries.conf(5)) names helpers that are
asked before or after all files. Files are read once. A helper is run once for a host, whatever the number of threads
and repositories; after a while it is asked again, for some give out what lives for an hour.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from oci.auth.credential import Credentials
from oci.auth.credential_files import HUB_KEY, AuthFile, Place, host_of_key
from oci.auth.credential_helpers import Helpers
from oci.errors import ConfigurationError, show
from oci.spec.reference import DEFAULT_REGISTRY, canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["FILES", "CredentialFiles", "Fixed", "helper_keys"]

REMEMBERED = 300.0  # seconds that a helper's answer counts: those of clouds are good for an hour or twelve
FILES = "containers-auth.json"  # stands for the files among the helpers of registries.conf


class Fixed:
    """The same credentials, for one host and its repositories; nobody else gets them."""

    def __init__(self, host: str, credentials: Credentials) -> None:
        self._host, self._credentials = canonical(host), credentials

    def __repr__(self) -> str:
        return f"Fixed({self._host!r}, …)"

    def find(self, host: str, repository: str | None) -> Credentials | None:
        """Give them, if it is that host."""
        return self._credentials if canonical(host) == self._host else None


class CredentialFiles:
    """Credentials from files, and from the helpers that these name."""

    def __init__(
        self,
        places: Sequence[Place],
        helpers: Helpers,
        *,
        order: Sequence[str] = (),
        warn: Callable[[str], object] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._places, self._helpers, self._warn = tuple(places), helpers, warn
        self._clock = clock
        self._order = tuple(order) or (FILES,)
        self._lock = threading.Lock()
        self._files: list[AuthFile] | None = None
        self._asked: dict[tuple[str, str], tuple[float, Credentials | None]] = {}
        self._told: set[str] = set()

    def __repr__(self) -> str:
        return f"CredentialFiles({', '.join(place.path for place in self._places)})"

    def find(self, host: str, repository: str | None) -> Credentials | None:
        """Give the credentials for a repository of a host (HOST[:PORT]), or for the host itself.

        Raises ConfigurationError for a file or an entry that can't be understood, and a helper that fails.
        """
        found = self.locate(host, repository)
        return None if found is None else found[1]

    def locate(self, host: str, repository: str | None) -> tuple[str, Credentials] | None:
        """Give the credentials as `find` does, and the file that has or names them, or the helper."""
        with self._lock:
            for name in self._order:
                found = self._in_files(host, repository) if name == FILES else self._of_conf(name, host)
                if found is not None:
                    return found
        return None

    def _in_files(self, host: str, repository: str | None) -> tuple[str, Credentials] | None:
        for file in self._read():
            found = self._in(file, host, repository)
            if found is not None:
                return file.path, found
        return None

    def _of_conf(self, helper: str, host: str) -> tuple[str, Credentials] | None:
        if self._helpers.find(helper) is None:
            self._tell(f"registries.conf: the credential helper docker-credential-{helper} is not installed")
            return None
        found = self._ask("registries.conf", helper, helper_keys(None, host))
        return None if found is None else (f"docker-credential-{helper}", found)

    def _read(self) -> list[AuthFile]:
        if self._files is None:
            files = []
            for place in self._places:
                try:
                    file = AuthFile.read(place)
                except ConfigurationError as error:
                    if place.named or "can't be read" not in error.reason:
                        raise
                    self._tell(f"{error}; its credentials are left out")  # another user's, met under sudo
                    continue
                if file is not None:
                    files.append(file)
            self._files = files
        return self._files

    def _in(self, file: AuthFile, host: str, repository: str | None) -> Credentials | None:
        helper = file.helper_for(host)
        if helper is not None:
            return self._ask(file.path, helper, helper_keys(file, host))
        keys = list(file.keys_for(host, repository))
        whole = [key for key in keys if host_of_key(key, legacy=file.legacy) == canonical(host)]
        special = [key for key in keys if key not in whole]
        return (
            next(filter(None, map(file.entry, special)), None)
            or (self._ask_store(file, host) if file.store is not None else None)
            or next(filter(None, map(file.entry, whole)), None)
        )

    def _ask_store(self, file: AuthFile, host: str) -> Credentials | None:
        """Ask `credsStore`. One that is not installed is left out: config.json is often copied from another machine."""
        assert file.store is not None
        if self._helpers.find(file.store) is None:
            self._tell(f"{file.path}: the credential helper docker-credential-{file.store} is not installed")
            return None
        return self._ask(file.path, file.store, helper_keys(file, host))

    def _ask(self, named_by: str, helper: str, keys: Iterable[str]) -> Credentials | None:
        for key in keys:
            when, found = self._asked.get((helper, key), (None, None))
            if when is None or self._clock() - when >= REMEMBERED:
                try:
                    found = self._helpers.get(helper, key)
                except ConfigurationError as error:
                    raise ConfigurationError(named_by, f"credentials of {show(key)}: {error}") from None
                self._asked[helper, key] = (self._clock(), found)
            if found is not None:
                return found
        return None

    def _tell(self, text: str) -> None:
        if self._warn is not None and text not in self._told:
            self._told.add(text)
            self._warn(text)


def helper_keys(file: AuthFile | None, host: str) -> Iterator[str]:
    """Give the keys under which helpers know a host, beginning with the one for this file (None: registries.conf).

    docker asks for Docker Hub by its URL, podman by its name.
    """
    if canonical(host) != DEFAULT_REGISTRY:
        yield host
    else:
        yield from (HUB_KEY, DEFAULT_REGISTRY) if file is not None and file.is_docker else (DEFAULT_REGISTRY, HUB_KEY)
