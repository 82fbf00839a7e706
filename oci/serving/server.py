"""A registry over a layout, as a block of code: what it needs is looked at, opened and closed again here."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from oci.errors import ConfigurationError, LayoutError
from oci.layout.layout import Layout
from oci.serving.app import App
from oci.serving.naming import own_repository
from oci.serving.sockets import Web, place
from oci.serving.store import Store
from oci.serving.uploads import Uploads
from oci.spec.reference import is_repository

if TYPE_CHECKING:
    import ssl

    from oci.serving.passwords import Passwords

__all__ = ["Server"]

Log = Callable[[str], object]


def _quiet(line: str) -> None:
    """The log of a server that nobody listens to."""


class Server:
    """A registry over a layout, from `with` until its end.

    `layout` is a Layout or its path; unless `read_only` it is made if it isn't there. `port` 0 takes a free one; `host`
    and `url` say where it listens. `repository` names the repository of bare tags (see `naming`). `htpasswd` and `tls`
    (certificate, key) are paths. Raises LayoutError and ConfigurationError on entering.
    """

    def __init__(
        self,
        layout: Layout | str | os.PathLike[str],
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        repository: str | None = None,
        read_only: bool = False,
        htpasswd: str | None = None,
        tls: tuple[str, str] | None = None,
        log: Log | None = None,
    ) -> None:
        if repository is not None and not is_repository(repository):
            raise ConfigurationError(repository, "is not a repository's name")
        self._layout, self._address, self._port = layout, (address, port), port
        self._repository, self._read_only, self._htpasswd, self._tls = repository, read_only, htpasswd, tls
        self._log: Log = log if log is not None else _quiet
        self._stack = ExitStack()
        self._ended = threading.Event()
        self.host = self.url = self.repository = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # The layout last: who can't listen, or has no certificate, makes none.
            passwords = self._passwords()
            web = Web(self._address, self._log, None if self._tls is None else _tls_context(*self._tls))
            begin = _listening(web)
            door = stack.enter_context(ExitStack())
            door.callback(begin)  # or its thread would wait on
            door.callback(web.stop)
            web.app = self._app(passwords, stack)
            stack.push(door.pop_all())  # the last request ends before the layout is let go
            begin()
            self._stack = stack.pop_all()
        self.host = place(self._address[0], web.bind_addr[1])
        self.url = f"{'http' if self._tls is None else 'https'}://{self.host}"
        return self

    def _passwords(self) -> Passwords | None:
        if self._htpasswd is None:
            return None
        from oci.serving.passwords import Passwords

        return Passwords(self._htpasswd)

    def _app(self, passwords: Passwords | None, stack: ExitStack) -> App:
        layout = self._layout
        if not isinstance(layout, Layout):
            exists = self._read_only or os.path.lexists(f"{os.fspath(layout)}/oci-layout")
            layout = Layout.open(layout) if exists else Layout.create(layout, exist_ok=True)
        self.repository = self._repository or own_repository(str(layout))
        store = Store(layout, own=self.repository)
        uploads = None
        if not self._read_only:
            try:
                stack.enter_context(store.writing())
            except PermissionError as error:
                raise LayoutError(
                    str(layout), f"can't be written to ({error.strerror}); serve it with --read-only"
                ) from None
            uploads = Uploads(f"{store.folder}/uploads", layout.blobs)
        return App(store, uploads, passwords=passwords, log=self._log)

    def __exit__(self, *exception: object) -> None:
        self._stack.close()
        self._ended.set()

    def wait(self) -> None:
        """Wait until the server has ended; signals are handled meanwhile."""
        # Not for ever: a signal that comes just before the wait begins would not be seen until it ends.
        while not self._ended.wait(0.2):
            pass


def _listening(web: Web) -> Callable[[], None]:
    """Let a server listen; what is given back makes it answer.

    It runs in threads that don't outlive the program, however that ends: its workers are as the one that makes them.
    """
    listening, begin, failed = threading.Event(), threading.Event(), list[Exception]()

    def run() -> None:
        try:
            web.prepare()
        except Exception as error:  # noqa: BLE001 - the thread that waits for us raises it
            failed.append(error)
            return
        finally:
            listening.set()
        begin.wait()
        web.serve()

    threading.Thread(target=run, name="ocikit serve", daemon=True).start()
    listening.wait()
    if failed:
        raise failed[0]
    return begin.set


def _tls_context(cert: str, key: str) -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for path in (cert, key):
        if not os.path.isfile(path):
            raise ConfigurationError(path, "no such file")
    try:
        # A password would be asked for on the terminal, in the middle of nowhere.
        context.load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None)  # OpenSSL's word; none where it found nothing to read
        if isinstance(reason, str):
            reason = reason.replace("_", " ").lower()
        elif isinstance(error, ssl.SSLError | ValueError):
            reason = "both have to be PEM, and the key without a password"
        else:
            reason = (error.strerror or "can't be read").lower()
        raise ConfigurationError(f"{cert}, {key}", f"no certificate with its key: {reason}") from None
    return context
