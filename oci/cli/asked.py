"""How `create` and `run` get their many options: typer is told of the table in run_options.py, once for both."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from oci.cli.lazily import typer

if TYPE_CHECKING:
    from oci.cli.run_options import Option

__all__ = ["with_options"]


def with_options(function: Callable[..., Any], options: Sequence[Option]) -> Callable[..., Any]:
    """Give the function with one keyword for each option in its signature, as typer reads it.

    The function itself takes them as `**asked`, and gets None or False for what nobody asked for.
    """

    def called(*args: Any, **named: Any) -> Any:
        return function(*args, **named)

    own = inspect.signature(function, eval_str=True)
    parameters = [one for one in own.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    for option in options:
        names = [f"--{option.key.replace('_', '-')}", *option.names.split()[1:]]
        declared: Any = (
            typer.Option(*names, help=option.help)
            if not option.metavar
            else typer.Option(*names, metavar=option.metavar, help=option.help, show_default=False)
        )
        kind: Any = bool if not option.metavar else list[str] | None if option.many else str | None
        parameters.append(
            inspect.Parameter(
                option.key,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=Annotated[kind, declared],
                default=False if not option.metavar else None,
            )
        )
    called.__doc__, called.__name__, called.__module__ = function.__doc__, function.__name__, function.__module__
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return called
