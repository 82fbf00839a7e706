"""How one command is set up: the options that every command has, and a cheap conversion of words to values."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from oci.cli.session import Session


class _Plain:
    """What commands and groups of commands share: --quiet, --debug, --root and its like, -h, and no epilog."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        own = list(kwargs.get("params") or ())
        taken = {option for parameter in own for option in parameter.opts}
        kwargs["params"] = own + [p for p in _common_parameters() if taken.isdisjoint(p.opts)]
        kwargs["context_settings"] = {"help_option_names": ["--help", "-h"], **(kwargs.get("context_settings") or {})}
        super().__init__(*args, **kwargs)

    def get_params(self, ctx: Any) -> list[Any]:
        return [convert_cheaply(parameter) for parameter in super().get_params(ctx)]  # type: ignore[misc]

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Nothing: the examples stand in the docstring, where a reader of the code sees them too."""


class PlainCommand(_Plain, TyperCommand):
    """A command with --quiet and --debug, whose str, int and list[str] parameters cost no imports."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """REF where typer 0.29 writes {REF}."""
        return [piece.translate({ord("{"): "", ord("}"): ""}) for piece in super().collect_usage_pieces(ctx)]


class PlainGroup(_Plain, TyperGroup):
    """A command that only holds other commands, such as `artifact`; its help shows them, and an example."""


@cache
def _common_parameters() -> tuple[Any, ...]:
    """These as typer's own objects, made by typer from a function that is never called."""
    app = typer.Typer(add_completion=False)
    app.command()(_common)
    return tuple(typer.main.get_command(app).params)


def _be_quiet(context: typer.Context, value: bool) -> bool:
    if value:
        Session.of(context).quiet = True
    return value


def _note(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
    """--root, --driver or --runtime behind the command's name: it counts more than one before it."""
    if value is not None:
        assert parameter.name is not None
        setattr(Session.of(context), parameter.name, value)
    return value


def _store_option(name: str, metavar: str) -> Any:
    """Not in each command's help: `ocikit --help` has it."""
    help_ = "The same as before the command."
    return typer.Option(name, metavar=metavar, help=help_, callback=_note, expose_value=False, hidden=True)


def _common(
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", callback=_be_quiet, expose_value=False, help="No progress and no notes on stderr."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", expose_value=False, help="Show a traceback when something fails.")
    ] = False,
    root: Annotated[str | None, _store_option("--root", "DIR")] = None,
    driver: Annotated[str | None, _store_option("--driver", "NAME")] = None,
    runtime: Annotated[str | None, _store_option("--runtime", "NAME")] = None,
) -> None:
    """Never called: `entry` looks for --debug itself, it must work however early a command fails."""


class _Words:
    """Stands in for typer's conversion of str, int and list[str].

    Typer 0.29 builds a pydantic adapter for every parameter of a command line, whose import takes several times as
    long as `ocikit inspect` itself. Releases before that have no such hook, and convert cheaply by themselves.
    """

    def __init__(self, annotation: Any) -> None:
        self.number = annotation is int

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if not self.number:
            return value
        try:
            return int(value)
        except ValueError:
            raise typer.BadParameter(f"{value!r} is not a whole number", ctx=ctx, param=param) from None


def convert_cheaply(parameter: Any) -> Any:
    """Give a parameter of typer's a conversion that imports nothing, where its type is a plain one."""
    descriptor = getattr(parameter, "type_descriptor", None)
    if descriptor is not None and descriptor.annotation in (str, int, bool, list[str]):
        parameter._runtime_param = _Words(descriptor.annotation)
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = _nothing  # "REF <str>" tells nobody anything
    return parameter


def _nothing(ctx: Any) -> str:
    return ""
