"""The root of the command line: a table of all commands, of which only the one that is asked for is imported.

`--help` answers from the table; a test holds it against the docstrings of the modules it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from oci.cli.command import PlainCommand, PlainGroup, convert_cheaply
from oci.cli.failures import UsageError
from oci.cli.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One row of the table: `oci.cli.MODULE` has a function FUNCTION whose first docstring line is `help`."""

    name: str
    module: str
    help: str
    function: str = ""
    section: str
    commands: tuple[str, ...] = ()  # for a command that only holds others: their names, and those of their functions
    asks: str = ""  # for a command that asks registries: the class in oci.cli.registries that has the options for it
    options: bool = False  # whether the options of containers (run_options.py) come on top of the function's own

    def load(self) -> Any:
        """Import the module and make the command that typer runs."""
        module = import_module(f"oci.cli.{self.module}")
        function = getattr(module, self.function or self.name)
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        kind = getattr(import_module("oci.cli.registries"), self.asks) if self.asks else PlainCommand
        if self.options:
            from oci.cli.asked import with_options
            from oci.cli.run_options import OPTIONS

            function = with_options(function, OPTIONS)
        if not self.commands:
            app.command(self.name, cls=kind)(function)
            return typer.main.get_command(app)
        app.callback(cls=PlainGroup)(function)
        for name in self.commands:
            app.command(name.rstrip("_"), cls=kind)(getattr(module, name))
        return typer.main.get_command(app)


_ASKS, _ASKS_LAYERS, _ASKS_TWO, _RUNS = "RegistryCommand", "LayersCommand", "CopyCommand", "RunCommand"


def _rows(section: str, module: str, asks: str = "", *, options: bool = False, **commands: str) -> list[Command]:
    return [
        Command(
            name=name.rstrip("_"),
            module=module,
            help=text,
            function=name,
            section=section,
            asks=asks,
            options=options,
        )
        for name, text in commands.items()
    ]


TABLE: tuple[Command, ...] = (
    *_rows("Images", "layouts", init="Make an empty image layout."),
    *_rows("Images", "layouts", _ASKS, ls="List the images of the local store, a layout, an archive or a repository."),
    *_rows(
        "Images",
        "show",
        _ASKS,
        inspect="Show what an image or a container is, or exactly the bytes of an image's documents.",
        history="Show how an image was made, each step beside its layer.",
    ),
    *_rows("Images", "files", _ASKS_LAYERS, files="List the files of an image, or of one of its layers."),
    *_rows(
        "Images",
        "layouts",
        _ASKS,
        tag="Give an image one more tag, in the store, a layout or a registry.",
        untag="Take a tag away; the image itself stays.",
    ),
    *_rows("Images", "layouts", gc="Delete the blobs of a layout that nothing refers to."),
    *_rows("Images", "copying", _ASKS_TWO, copy="Copy an image between registries, layouts and archives."),
    *_rows(
        "Containers",
        "running",
        _RUNS,
        options=True,
        create="Make a container of an image, without starting it.",
        run="Run a command in a new container.",
    ),
    *_rows("Containers", "running", start="Start containers that were made or have ended."),
    *_rows("Containers", "running", "ExecCommand", exec_="Run one more command in a running container."),
    *_rows(
        "Containers",
        "stopping",
        stop="Stop running containers: their stop signal, then SIGKILL.",
        kill="Send a signal to running containers.",
        wait="Wait until containers have ended, and print their exit statuses.",
        restart="Stop containers if they run, and start them.",
    ),
    *_rows(
        "Containers",
        "containers",
        ps="List containers.",
        logs="Show what a container has written.",
        rm="Remove containers, and what they wrote outside of volumes.",
        rename="Give a container another name.",
        port="Show which ports of this machine lead to a container.",
    ),
    *_rows(
        "Containers",
        "writable",
        diff="List what a container has changed against its image.",
        commit="Make an image of a container: its image, and a layer of what it wrote.",
        export="Write all files of a container as one tar archive.",
        cp="Copy files into a container, or out of it.",
        mount="Mount a container's files here and print where; without a container, list what is mounted.",
        umount="Unmount what `mount` mounted, when the last of those who did says so.",
    ),
    *_rows(
        "Store",
        "pulling",
        _ASKS_LAYERS,
        pull="Bring an image into the local store, from a registry, a layout or an archive.",
    ),
    *_rows("Store", "pulling", _ASKS, push="Send an image of the local store to a registry, a layout or an archive."),
    *_rows("Store", "pulling", rmi="Remove images from the local store."),
    Command(
        name="volume",
        module="volumes",
        help="Make, list, remove, export and import volumes: data that outlives containers.",
        function="volume",
        section="Store",
        commands=("create", "ls", "inspect", "rm", "prune", "export", "import_"),
    ),
    Command(
        name="store",
        module="storing_commands",
        help="Look at the local store, check and mend it, and remove what nothing needs.",
        function="store",
        section="Store",
        commands=("info", "df", "check", "prune"),
    ),
    *_rows(
        "Store",
        "unsharing",
        "ExecCommand",
        unshare="Run a program where containers are: as root in this user's namespace.",
    ),
    *_rows(
        "Verify", "checking", _ASKS_LAYERS, verify="Check everything about an image or a layout, and list every fault."
    ),
    *_rows("Build", "append", _ASKS, append="Add layers from directories and tar files to an image, or to nothing."),
    *_rows("Build", "configure", _ASKS, config="Change an image's config without touching its layers."),
    *_rows("Unpack", "unpacking", _ASKS_LAYERS, unpack="Write the merged root file system of an image to a directory."),
    *_rows(
        "Unpack",
        "bundling",
        _ASKS_LAYERS,
        options=True,
        bundle="Make a runtime bundle of an image: config.json and a root file system, for `runc run -b DIR NAME`.",
    ),
    *_rows(
        "Registries",
        "remote",
        _ASKS,
        tags="List the tags of a repository, or the repositories of a registry.",
    ),
    *_rows(
        "Registries", "referrers", _ASKS, referrers="List what refers to an image: signatures, SBOMs, attestations."
    ),
    *_rows("Registries", "remote", _ASKS, delete="Delete an image from a registry, or a tag."),
    *_rows("Registries", "logins", _ASKS, login="Log in to a registry, for ocikit, podman, skopeo and docker alike."),
    *_rows("Registries", "logins", logout="Log out of a registry: forget the credentials for it."),
    *_rows("Registries", "serving", serve="Serve a layout as a registry, for development and CI."),
    Command(
        name="artifact",
        module="artifacts",
        help="Push, pull and inspect artifacts: files in a registry, a layout or an archive.",
        function="artifact",
        section="Artifacts",
        commands=("push", "pull", "inspect"),
        asks=_ASKS,
    ),
    *_rows(
        "Artifacts",
        "referrers",
        _ASKS,
        attach="Attach files to an image, such as an SBOM or a signature; or yourself to a container.",
    ),
)

COMMANDS = {command.name: command for command in TABLE}

# The contract names these; they come with later versions. Asked for by name, they say so.
_LATER = """
    cat extract waste tree explore convert build repack squash flatten rebase index
    keygen sign verify-signature
    attest verify-attestation lock
"""
LATER = frozenset(_LATER.split())


class LazyGroup(TyperGroup):
    """A group that knows its commands' names and one-line helps without importing them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            self.commands[cmd_name] = COMMANDS[cmd_name].load()
        return self.commands.get(cmd_name)

    def get_params(self, ctx: Any) -> list[Any]:
        return [convert_cheaply(parameter) for parameter in super().get_params(ctx)]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if name in COMMANDS or name.startswith("-"):
            return super().resolve_command(ctx, args)
        if name in LATER:
            raise UsageError(f"the command '{name}' is not available in this version of ocikit")
        import difflib

        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else "'ocikit --help' lists the commands"
        raise UsageError(f"no such command '{name}'; {hint}")

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(len(name) for name in COMMANDS)
        for section in dict.fromkeys(command.section for command in TABLE):
            with formatter.section(section):
                formatter.write_dl([(c.name.ljust(width), c.help) for c in TABLE if c.section == section])


app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Every command has --help with an example. References: oci:PATH[:TAG], oci-archive:FILE[:TAG], "
    "docker-archive:FILE[:NAME:TAG], docker://HOST/REPO[:TAG][@DIGEST], ./PATH[:TAG] short for oci:, and NAME[:TAG] or "
    "an ID in the local store.",
)


def _version(value: bool) -> None:
    if value:
        from oci import __version__

        print(f"ocikit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    root: Annotated[
        str | None, typer.Option("--root", metavar="DIR", help="The local store (OCIKIT_ROOT).", show_default=False)
    ] = None,
    driver: Annotated[
        str | None,
        typer.Option(
            "--driver",
            metavar="NAME",
            help="The storage driver: overlay, fuse-overlayfs or copy (OCIKIT_DRIVER).",
            show_default=False,
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            metavar="NAME",
            help="What runs containers: crun, runc or a path (OCIKIT_RUNTIME).",
            show_default=False,
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")] = False,
) -> None:
    """Build, inspect, verify and unpack OCI container images, without a daemon and without root."""
    session = Session.of(context)
    session.quiet = quiet
    session.root, session.driver, session.runtime = root, driver, runtime


def command_tree() -> Any:
    """The whole command tree as typer runs it (for completion, the reference in docs/, and tests)."""
    return typer.main.get_command(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit status, or raises what went wrong."""
    if not arguments:
        arguments = ["--help"]
    status = command_tree().main(args=list(arguments), prog_name="ocikit", standalone_mode=False)
    return status if isinstance(status, int) else 0
