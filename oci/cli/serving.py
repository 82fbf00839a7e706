"""`serve`: a registry over a layout."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated

from oci.cli import sources
from oci.cli.failures import UsageError, say
from oci.cli.lazily import typer
from oci.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_LOOPBACK = ("127.", "localhost", "::1")


class _Terminated(BaseException):
    """SIGTERM: for a server the way to end, and no failure."""


def serve(
    context: typer.Context,
    layout: Annotated[str, typer.Argument(metavar="LAYOUT", help="The layout's directory.", show_default=False)],
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.")
    ] = "127.0.0.1:5000",
    repository: Annotated[
        str | None,
        typer.Option(
            "--repository",
            metavar="NAME",
            help="The repository that tags without one are in; default: the directory's name.",
            show_default=False,
        ),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Only let clients pull.")] = False,
    htpasswd: Annotated[
        str | None,
        typer.Option(
            "--htpasswd", metavar="FILE", help="Only let in users of this file (`htpasswd -B`).", show_default=False
        ),
    ] = None,
    tls_cert: Annotated[
        str | None,
        typer.Option("--tls-cert", metavar="FILE", help="Serve https with this certificate.", show_default=False),
    ] = None,
    tls_key: Annotated[
        str | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's key.", show_default=False)
    ] = None,
) -> None:
    """Serve a layout as a registry, for development and CI.

    Clients push to it and pull from it as from any registry; the layout stays one that every tool reads, and is made if
    it isn't there. Where it listens is printed on stdout, each request on stderr. SIGTERM ends it with status 0.

    \b
    Example:
      ocikit serve ./images
      ocikit serve ./images --listen 0.0.0.0:5000 --htpasswd users --tls-cert cert.pem --tls-key key.pem
      skopeo copy --dest-tls-verify=false docker://alpine docker://localhost:5000/alpine
    """
    from oci.errors import show
    from oci.serving.server import Server
    from oci.spec.reference import is_repository

    session = Session.of(context)
    # The server's library would take file descriptor 3 for its socket: systemd's way, which isn't offered here.
    os.environ.pop("LISTEN_PID", None)
    address, port = _parse_listen(listen)
    if repository is not None and not is_repository(repository):
        raise UsageError(f"--repository {show(repository)}: not a repository's name, such as library/alpine")
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key belong together")
    tls = None if tls_cert is None or tls_key is None else (tls_cert, tls_key)
    path = sources.layout_path(layout)
    server = Server(
        path,
        address=address,
        port=port,
        repository=repository,
        read_only=read_only,
        htpasswd=htpasswd,
        tls=tls,
        log=_log(session),
    )
    with _ends_on_sigterm(), server:
        if not address.startswith(_LOOPBACK):
            _warn_of_strangers(session, htpasswd=htpasswd, tls=tls, read_only=read_only)
        what = "read-only, " if read_only else ""
        session.note(f"serving {show(path)} ({what}tags without a repository are in {server.repository}); Ctrl-C stops")
        print(f"listening on {server.url}", flush=True)
        server.wait()


def _parse_listen(text: str) -> tuple[str, int]:
    """HOST:PORT, [IPv6]:PORT, :PORT (all addresses, as docker has it) or PORT alone (this machine)."""
    host, colon, port = text.rpartition(":")
    if not colon:
        host = "127.0.0.1"
    elif host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise UsageError(f"--listen {text!r}: an IPv6 address stands in brackets: [::1]:5000")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise UsageError(f"--listen {text!r}: expected HOST:PORT, such as 127.0.0.1:5000")
    return host or "0.0.0.0", int(port)


def _warn_of_strangers(session: Session, *, htpasswd: str | None, tls: object, read_only: bool) -> None:
    if htpasswd is not None and tls is None:
        session.warn("passwords are sent over the network as they are; give --tls-cert and --tls-key")
    elif htpasswd is None and not read_only:
        session.warn("whoever reaches this address can push and delete; give --htpasswd, or --read-only")


def _log(session: Session) -> Callable[[str], None]:
    """A line for each request, with its time, unless --quiet; errors always."""
    import threading
    import time

    one_at_a_time = threading.Lock()

    def log(line: str) -> None:
        with one_at_a_time:
            if line.startswith("error: "):
                say(line.removeprefix("error: "))
                return
            with suppress(OSError, ValueError):  # nobody reads it any more, or its disk is full: no fault of a client's
                session.note(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}")

    return log


@contextmanager
def _ends_on_sigterm() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread, to which signals go
        yield
        return
    try:
        yield
    except _Terminated:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
