"""`stop`, `kill`, `wait`, `restart`: containers that run, and their end."""

from __future__ import annotations

from typing import Annotated

from oci.cli import options
from oci.cli.lazily import typer
from oci.cli.many import each
from oci.cli.session import Session
from oci.cli.storing import open_store, runtime_for
from oci.errors import RuntimeFailed, show

__all__ = ["kill", "restart", "stop", "wait"]


def stop(
    context: typer.Context,
    containers: options.ContainerNames,
    timeout: options.StopTimeout = None,
) -> None:
    """Stop running containers: their stop signal, then SIGKILL.

    One that doesn't run is left as it is.

    \b
    Example:
      ocikit stop web
      ocikit stop -t 2 web box
    """
    from oci.container.container import Container
    from oci.container.lifecycle import stop as stop_it

    session = Session.of(context)
    with open_store(session, namespace=True) as store, each(containers) as todo:
        for name in todo:
            with todo.one():
                stop_it(Container.find(store, name), timeout)
                print(name)


def kill(
    context: typer.Context,
    containers: options.ContainerNames,
    signal: Annotated[str, typer.Option("--signal", "-s", metavar="SIGNAL", help="TERM, SIGHUP, 9, …")] = "KILL",
) -> None:
    """Send a signal to running containers.

    To the first process of each; SIGKILL unless something else is said.

    \b
    Example:
      ocikit kill web
      ocikit kill -s HUP web
    """
    from oci.cli.run_options import checked_signal
    from oci.container.container import Container
    from oci.container.lifecycle import kill as kill_it

    session = Session.of(context)
    number = checked_signal("--signal", signal)
    with open_store(session, namespace=True) as store, each(containers) as todo:
        for name in todo:
            with todo.one():
                kill_it(Container.find(store, name), number)
                print(name)


def wait(
    context: typer.Context,
    containers: options.ContainerNames,
) -> None:
    """Wait until containers have ended, and print their exit statuses.

    One line for each, in the order given. One that has ended already is not waited for.

    \b
    Example:
      ocikit wait web
    """
    from oci.container.container import Container
    from oci.container.lifecycle import wait as wait_for

    session = Session.of(context)
    with open_store(session) as store, each(containers) as todo:
        found = {}
        for name in todo:
            with todo.one():
                found[name] = Container.find(store, name)
        for name, container in found.items():
            with todo.one():
                status = wait_for(container)
                if status is None:
                    raise RuntimeFailed(f"container {show(name)}: nobody saw how it ended")
                print(status, flush=True)


def restart(
    context: typer.Context,
    containers: options.ContainerNames,
    timeout: options.StopTimeout = None,
) -> None:
    """Stop containers if they run, and start them.

    \b
    Example:
      ocikit restart web
    """
    from oci.container.container import Container
    from oci.container.lifecycle import restart as restart_it

    session = Session.of(context)
    with open_store(session, namespace=True) as store, each(containers) as todo:
        for name in todo:
            with todo.one():
                restart_it(Container.find(store, name), timeout, runtime=runtime_for(session, store))
                print(name)
