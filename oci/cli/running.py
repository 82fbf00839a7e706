"""`create`, `run`, `start`, `exec`: what begins in a container; `attach`, which joins it.

Exit statuses are docker's: `run`, `exec`, `attach` and `start -a` give that of the container's process (128+n where
signal n ended it); 125 when ocikit itself failed, 126 when the command can't be executed, 127 when it isn't there.
Wrong usage is 2.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from oci.cli import options
from oci.cli.failures import StatusError, UsageError
from oci.cli.lazily import Annotated, Any, typer
from oci.cli.many import each
from oci.cli.session import Session
from oci.cli.storing import open_store, runtime_for
from oci.errors import InvalidInput, OciError, RuntimeFailed, SourceError, WrongState, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.cli.progress import Progress
    from oci.container.attach import Attachment
    from oci.container.container import Container
    from oci.runtime.settings import RunSettings
    from oci.storage.store import Store

__all__ = ["attach_to", "create", "exec_", "run", "start"]

FAILED = 125  # docker's: the engine failed, not the container


@contextmanager
def docker_statuses() -> Iterator[None]:
    """Give a failure docker's exit status: 126 and 127 are about the command, 125 is everything else."""
    try:
        yield
    except BrokenPipeError:  # whoever read our output went away: entry.py has a status for that
        raise
    except RuntimeFailed as error:
        raise StatusError(error, error.status) from error
    except (OciError, OSError, MemoryError) as error:
        raise StatusError(error, FAILED) from error


# create, run


def create(
    context: typer.Context,
    image: options.Reference,
    command: options.Command = None,
    **asked: Any,
) -> None:
    """Make a container of an image, without starting it.

    It gets a thin writable layer of its own on the image's read-only ones. An image that isn't in the local store is
    brought there first (--pull); any reference will do. Options stand before REF: what follows it is the command. The
    container's ID is printed.

    \b
    Example:
      ocikit create --name web -v data:/data alpine httpd -f -p 8080
      ocikit create --env-file app.env --memory 512m ./images:v2
    """
    session = Session.of(context)
    settings = _settings(session, command, asked)
    with open_store(session, namespace=True) as store:
        container = _made(session, store, image, settings, asked)
    print(container.id)


def run(
    context: typer.Context,
    image: options.Reference,
    command: options.Command = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="In the background; print the ID.")] = False,
    **asked: Any,
) -> None:
    """Run a command in a new container.

    As `create`, then `start`. The exit status is that of the command; 125 says that ocikit itself failed, 126 that the
    command can't be executed, 127 that it isn't there. Options stand before REF: what follows it is the command.

    \b
    Example:
      ocikit run --rm alpine ls -l
      ocikit run -it --name box alpine
      ocikit run -d --name web -v data:/data --read-only alpine httpd -f -p 8080
    """
    from oci.container.launch import Standby
    from oci.container.lifecycle import start as start_it
    from oci.container.lifecycle import start_attached

    session = Session.of(context)
    settings = _settings(session, command, asked)
    # The supervisor begins while the container is made: two processes have two processors to use.
    with docker_statuses(), open_store(session, namespace=True) as store, Standby() as standby:
        runtime = runtime_for(session, store)  # before there is a container that nobody could start
        container = _made(session, store, image, settings, asked)
        if detach:
            start_it(container, runtime=runtime, standby=standby)
            print(container.id)
            return
        stdin = settings.stdin_open
        with start_attached(container, runtime=runtime, standby=standby, stdin=stdin) as attachment:
            status = _followed(session, container, attachment, stdin=stdin, keys=settings.detach_keys)
    if status:  # typer is imported only then
        raise typer.Exit(status)


def _settings(session: Session, command: list[str] | None, asked: dict[str, Any]) -> RunSettings:
    from oci.cli.run_options import read_file, run_settings

    return run_settings(asked, command or (), environ=session.environ, cwd=os.getcwd(), read=read_file)


def _made(session: Session, store: Store, image: str, settings: RunSettings, asked: dict[str, Any]) -> Container:
    from oci.cli.fetching import image_for
    from oci.container.create import create as create_it

    name = asked.get("name") or None
    if name is not None:
        from oci.storage.containers import check_container_name

        try:
            check_container_name(name)
        except InvalidInput as error:
            raise UsageError(f"--name: {error}") from None
    cidfile = asked.get("cidfile") or None
    if cidfile is not None and os.path.lexists(cidfile):
        raise SourceError(cidfile, "exists already; --cidfile wants a new file, so that no other ID is lost")
    with store.shared(), ExitStack() as stack:  # or another command may remove the image as soon as it is found
        found = image_for(session, store, image, policy=asked.get("pull") or "missing", platform=asked.get("platform"))
        progress = _WhenHeard(session, stack)
        container = create_it(store, found, settings, name=name, progress=progress, warn=session.warn)
    if cidfile is not None:
        _write_cidfile(container, cidfile)
    return container


class _WhenHeard:
    """A progress that begins with the first that is heard of it: most containers find their layers unpacked."""

    def __init__(self, session: Session, stack: ExitStack) -> None:
        self._session, self._stack = session, stack
        self._shown: Progress | None = None

    def _progress(self) -> Progress:
        if self._shown is None:
            self._shown = self._stack.enter_context(self._session.progress("unpacking"))
        return self._shown

    def __call__(self, done: int, total: int | None, what: str) -> None:
        self._progress()(done, total, what)

    def blob(self, what: str, done: int | None, size: int | None) -> None:
        self._progress().blob(what, done, size)


def _write_cidfile(container: Container, path: str) -> None:
    """The ID without a line's end, as docker writes it; a container whose ID can't be told goes again."""
    from oci.container.lifecycle import remove

    try:
        with open(path, "x") as file:
            file.write(container.id)
    except OSError:
        remove(container, volumes=True)
        raise


# start, attach, exec


def start(
    context: typer.Context,
    containers: options.ContainerNames,
    attach: Annotated[bool, typer.Option("--attach", "-a", help="See its output; exit with its status.")] = False,
    interactive: Annotated[bool, typer.Option("--interactive", "-i", help="Give it this stdin.")] = False,
    detach_keys: options.DetachKeys = None,
) -> None:
    """Start containers that were made or have ended.

    What one wrote before is still there. One that runs is left as it is. With --attach its output comes here, and its
    exit status becomes ours.

    \b
    Example:
      ocikit start web
      ocikit start -ai box
    """
    from oci.container.attach import attach as attach_to_it
    from oci.container.container import Container
    from oci.container.lifecycle import start as start_it
    from oci.container.lifecycle import start_attached

    session = Session.of(context)
    keys = _keys(detach_keys)
    if attach or interactive:
        if len(containers) > 1:
            raise UsageError("--attach: one container at a time")
        with docker_statuses(), open_store(session, namespace=True) as store:
            container = Container.find(store, containers[0])
            try:
                begun = start_attached(container, runtime=runtime_for(session, store), stdin=interactive)
            except WrongState as error:
                if error.state != "running":
                    raise
                begun = attach_to_it(container, stdin=interactive)
            with begun as attachment:
                status = _followed(session, container, attachment, stdin=interactive, keys=keys)
        raise typer.Exit(status)
    with open_store(session, namespace=True) as store, each(containers) as todo:
        for name in todo:
            with todo.one():
                try:
                    start_it(Container.find(store, name), runtime=runtime_for(session, store))
                except WrongState as error:
                    if error.state != "running":
                        raise
                print(name)


def attach_to(session: Session, name: str, *, no_stdin: bool, detach_keys: str | None) -> None:
    """`attach CONTAINER`: its output here, from now on, our input there; the exit status is the container's."""
    from oci.container.attach import attach
    from oci.container.container import Container

    keys = _keys(detach_keys)
    with docker_statuses(), open_store(session) as store:
        container = Container.find(store, name)
        stdin = container.settings.stdin_open and not no_stdin
        with attach(container, stdin=stdin) as attachment:
            status = _followed(session, container, attachment, stdin=stdin, keys=keys)
    raise typer.Exit(status)


def _followed(session: Session, container: Container, attachment: Attachment, *, stdin: bool, keys: str | None) -> int:
    """Move bytes until the container ends or is left; the exit status for us."""
    from oci.container.attach import DETACH_KEYS

    _warn_of_typing(session, tty=container.settings.tty, stdin=stdin)
    chosen = keys if keys is not None else container.settings.detach_keys
    ended = attachment.run(0 if stdin else None, 1, 2, detach_keys=DETACH_KEYS if chosen is None else chosen)
    if ended.status is not None:
        return ended.status
    if ended.detached:
        return 0
    raise RuntimeFailed(f"container {show(container.name)}: {ended.reason or 'nobody saw how it ended'}")


def _warn_of_typing(session: Session, *, tty: bool, stdin: bool) -> None:
    """Docker refuses this, podman warns: a program that waits for the end of its input waits for ever."""
    if tty and stdin and not os.isatty(0):
        session.warn("stdin is no terminal: what it holds is typed in the container's, which doesn't see its end")


def _keys(text: str | None) -> str | None:
    if text:
        from oci.cli.run_options import checked_keys

        checked_keys(text)
    return text


def exec_(
    context: typer.Context,
    container: options.ContainerName,
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="What to run in it, with its arguments.", show_default=False)
    ],
    interactive: Annotated[bool, typer.Option("--interactive", "-i", help="Give it this stdin.")] = False,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="Give it a terminal.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="In the background.")] = False,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            "-e",
            metavar="NAME[=VALUE]",
            help="An environment variable; without a value, the caller's own; repeat.",
            show_default=False,
        ),
    ] = None,
    env_file: Annotated[
        list[str] | None,
        typer.Option(
            "--env-file",
            metavar="FILE",
            help="Variables from a file, one NAME=VALUE a line; repeat.",
            show_default=False,
        ),
    ] = None,
    workdir: Annotated[
        str | None,
        typer.Option("--workdir", "-w", metavar="PATH", help="The working directory.", show_default=False),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option("--user", "-u", metavar="USER[:GROUP]", help="Who it is, names or numbers.", show_default=False),
    ] = None,
    privileged: Annotated[bool, typer.Option("--privileged", help="With all capabilities.")] = False,
    detach_keys: options.DetachKeys = None,
) -> None:
    """Run one more command in a running container.

    The exit status is that of the command; 125 to 127 as for `run`. Options stand before CONTAINER: what follows it is
    the command.

    \b
    Example:
      ocikit exec web ls -l /data
      ocikit exec -it -u nobody box sh
    """
    from oci.cli.run_options import environment, read_file, working_directory
    from oci.container.container import Container
    from oci.container.execute import ExecSettings, execute

    session = Session.of(context)
    variables = environment(env_file or (), env or (), session.environ, read_file)
    settings = ExecSettings(
        args=tuple(command),
        env=tuple((name, value) for name, value in variables if value is not None),
        workdir=working_directory(workdir),
        user=user or None,
        tty=tty,
        interactive=interactive,
        detach=detach,
        privileged=privileged,
        detach_keys=_keys(detach_keys),
    )
    _warn_of_typing(session, tty=tty, stdin=interactive and not detach)
    with docker_statuses(), open_store(session, namespace=True) as store:
        status = execute(Container.find(store, container), settings)
    raise typer.Exit(status)
