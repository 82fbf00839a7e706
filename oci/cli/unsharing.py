"""`unshare`: a program in the namespaces that containers are in, so that a shell can do there what a command does."""

from __future__ import annotations

import errno
import os
from typing import Annotated

from oci.cli.lazily import typer
from oci.cli.session import Session

__all__ = ["unshare"]


def unshare(
    context: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND", help="The program and its arguments; default: $SHELL.", show_default=False),
    ] = None,
) -> None:
    """Run a program where containers are: as root in this user's namespace.

    It is root over this user's own ids there, sees files of containers with the owners that they have inside, and may
    mount: what `ocikit mount` mounts in such a shell is there until the shell ends. Other ocikit commands in it use the
    same store. As root it is a mount namespace only. The exit status is the program's; 127 when there is none of that
    name, 126 when it can't be run.

    \b
    Example:
      ocikit unshare ls -ln ~/.local/share/ocikit/volumes/data/data
      ocikit unshare sh -c 'cd "$(ocikit mount web)" && du -sh .'
    """
    from oci.cli.storing import enter_namespace, store_root

    session = Session.of(context)
    words = command or [session.environ.get("SHELL") or "/bin/sh"]
    root = store_root(session)
    if os.geteuid() == 0:
        from oci.linux.namespaces import unshare_mounts

        unshare_mounts(follow_host=True)
    else:
        enter_namespace(session)
    _become(words, {**session.environ, "OCIKIT_ROOT": root})


def _become(words: list[str], environ: dict[str, str]) -> None:
    """Put the program in this process's place: its exit status and its signals are then its own business."""
    import signal
    import sys

    from oci.cli.failures import StatusError
    from oci.errors import RuntimeFailed, show

    sys.stdout.flush()
    sys.stderr.flush()
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and what is ignored stays so in a new program
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(words[0], words, environ)
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        status, reason = (127, "not found") if missing else (126, error.strerror)
    except ValueError as error:  # a NUL byte
        status, reason = 126, str(error)
    failure = RuntimeFailed(f"{show(words[0])}: {reason}", status=status)
    raise StatusError(failure, failure.status)
