"""`ps`, `logs`, `rm`, `rename`, `port`: containers as they are, and away with them."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

from oci.cli import options, output
from oci.cli.failures import UsageError
from oci.cli.lazily import Annotated, typer
from oci.cli.many import each
from oci.cli.session import Session
from oci.cli.storing import has_store, open_store
from oci.errors import InvalidInput, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.storage.containers import ContainerRow

__all__ = ["logs", "port", "ps", "rename", "rm"]


def ps(
    context: typer.Context,
    all_containers: Annotated[bool, typer.Option("--all", "-a", help="Also those that don't run.")] = False,
    only_ids: options.OnlyIds = False,
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="KEY=VALUE",
            help="Only those with this name, id, status, label, exited, ancestor or volume; repeat.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[bool, typer.Option("--size", "-s", help="Also the bytes of each writable layer.")] = False,
    no_trunc: Annotated[bool, typer.Option("--no-trunc", help="IDs and commands in full.")] = False,
    json: options.Json = False,
) -> None:
    """List containers.

    Those that run, the newest first; with --all, those that were made or have ended, too. What the store remembers is
    held against the processes that live, so a container whose machine or supervisor died is shown as ended.

    \b
    Example:
      ocikit ps -a --filter status=exited --filter label=team=web
      ocikit ps -a --json
    """
    session = Session.of(context)
    if not has_store(session):
        if json:
            output.document([])
        elif not only_ids:
            _table([], [], {}, 0, no_trunc=False)
        return
    from oci.cli.container_rows import Commands, filters, item
    from oci.container.status import status

    wants_all = all_containers or any(word.startswith(("status=", "exited=")) for word in filter_ or ())
    with open_store(session, namespace=size, needed=False) as store:
        fits = filters(filter_ or (), store)
        shown = [one for one in reversed(status(store)) if (wants_all or one.row.status == "running") and fits(one.row)]
        rows = [one.row for one in shown]
        if only_ids:
            for row in rows:
                print(row.id if no_trunc else row.short_id)
            return
        commands = Commands(store)
        run_by = [commands.of(row) for row in rows]
        sizes = {one.id: one.driver.size(one.snapshot) for one in shown} if size else {}
        if json:
            output.document([item(row, words, sizes.get(row.id)) for row, words in zip(rows, run_by, strict=True)])
        else:
            _table(rows, run_by, sizes, store.clock(), no_trunc=no_trunc)


def _table(
    rows: Sequence[ContainerRow],
    commands: Sequence[Sequence[str]],
    sizes: Mapping[str, int],
    now: int,
    *,
    no_trunc: bool,
) -> None:
    from oci.cli.container_rows import ago, ports, shown_image, state_words

    published = [", ".join(f"{p['hostPort']}→{p['containerPort']}/{p['protocol']}" for p in ports(row)) for row in rows]
    header = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS"]
    header += ["PORTS"] * any(published) + ["SIZE"] * bool(sizes) + ["NAME"]
    lines = []
    for row, words, port_words in zip(rows, commands, published, strict=True):
        command = " ".join(words)
        line = [
            row.id if no_trunc else row.short_id,
            shown_image(row),
            command if no_trunc else output.cut(command, 30),
            f"{ago(now - row.created)} ago",
            state_words(row, now),
        ]
        line += [port_words] * any(published) + [output.size(sizes.get(row.id))] * bool(sizes)
        lines.append([*line, row.name])
    output.table(header, lines)


def logs(
    context: typer.Context,
    container: options.ContainerName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the container ends.")] = False,
    tail: Annotated[
        str | None,
        typer.Option("--tail", "-n", metavar="LINES", help="Only the last so many; default: all.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="TIME", help="From then on: RFC 3339, seconds since 1970, or 10m.", show_default=False
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Until then, said alike.", show_default=False)
    ] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="Each line's time before it.")] = False,
    json: options.Json = False,
) -> None:
    """Show what a container has written.

    Its stdout on stdout and its stderr on stderr, or all on stdout where it has a terminal, as long as the container is
    not removed; how much of it is kept, `--log-opt` of `run` says.

    \b
    Example:
      ocikit logs web
      ocikit logs -f --tail 10 -t web
      ocikit logs --since 10m --json web
    """
    from oci.container.container import Container
    from oci.container.logs import read_logs

    session = Session.of(context)
    if json and follow:
        raise UsageError("--json gives one document when all is read, and --follow has no end")
    now = time.time_ns()
    with open_store(session, create=False) as store:
        lines = read_logs(
            Container.find(store, container),
            follow=follow,
            tail=_tail(tail),
            since=_moment("--since", since, now),
            until=_moment("--until", until, now),
        )
        if json:
            output.document(
                [
                    {"time": line.time, "stream": line.stream, "log": line.data.decode(errors="surrogateescape")}
                    for line in lines
                ]
            )
            return
        for line in lines:
            stream = sys.stderr if line.stream == "stderr" else sys.stdout
            stream.flush()
            stream.buffer.write(f"{line.time} ".encode() + line.data if timestamps else line.data)
            stream.buffer.flush()


def _tail(text: str | None) -> int | None:
    from oci.cli.quantities import whole

    return None if text in (None, "all") or text is None else whole("--tail", text)


def _moment(option: str, text: str | None, now: int) -> int | None:
    """A time in nanoseconds: RFC 3339, seconds since 1970, or how long ago."""
    from oci.cli.quantities import seconds
    from oci.spec import rfc3339

    if text is None:
        return None
    if "T" in text.upper() and "-" in text:
        try:
            return rfc3339.parse(text)
        except ValueError as error:
            raise UsageError(f"{option} {show(text)!r}: {error}") from None
    span = int(seconds(option, text) * rfc3339.NANOSECONDS)
    return span if text.replace(".", "", 1).isdigit() else now - span


def rm(
    context: typer.Context,
    containers: options.ContainerNames,
    force: Annotated[bool, typer.Option("--force", "-f", help="Kill what runs, and bear what is missing.")] = False,
    volumes: Annotated[bool, typer.Option("--volumes", "-v", help="Also the anonymous volumes of each.")] = False,
) -> None:
    """Remove containers, and what they wrote outside of volumes.

    Folder, mounts, log and the runtime's own state go; the image and named volumes stay. One that runs is only removed
    with --force.

    \b
    Example:
      ocikit rm web
      ocikit rm -f -v box
      ocikit rm $(ocikit ps -a -q --filter status=exited)
    """
    from oci.container.container import Container
    from oci.container.lifecycle import remove
    from oci.errors import ContainerNotFound

    session = Session.of(context)
    with open_store(session, namespace=True, needed=False) as store, each(containers) as todo:
        for name in todo:
            with todo.one():
                try:
                    remove(Container.find(store, name), force=force, volumes=volumes)
                except ContainerNotFound as error:
                    if not force or error.candidates:
                        raise
                    continue
                print(name)


def rename(
    context: typer.Context,
    container: options.ContainerName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.", show_default=False)],
) -> None:
    """Give a container another name.

    It may run meanwhile; its host name stays.

    \b
    Example:
      ocikit rename brave_otter web
    """
    from oci.container.container import Container
    from oci.container.lifecycle import rename as rename_it
    from oci.storage.containers import check_container_name

    try:
        check_container_name(name)
    except InvalidInput as error:
        raise UsageError(str(error)) from None
    with open_store(Session.of(context), create=False) as store:
        rename_it(Container.find(store, container), name)


def port(
    context: typer.Context,
    container: options.ContainerName,
    json: options.Json = False,
) -> None:
    """Show which ports of this machine lead to a container.

    One line for each that `--publish` of `run` named: the container's port and protocol, and where it is here.

    \b
    Example:
      ocikit port web
    """
    from oci.cli.container_rows import ports
    from oci.container.container import Container

    with open_store(Session.of(context), create=False) as store:
        found = ports(Container.find(store, container).row)
    if json:
        output.document(found)
        return
    for one in found:
        address = one["hostAddress"] or "0.0.0.0"
        shown = f"[{address}]" if ":" in address else address
        print(f"{one['containerPort']}/{one['protocol']} -> {shown}:{one['hostPort']}")
