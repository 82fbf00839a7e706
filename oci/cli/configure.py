"""`config`: an image's config and annotations changed, its layers untouched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from oci.cli import building, options, runconfig, sources
from oci.cli.failures import UsageError
from oci.cli.lazily import typer
from oci.cli.session import Session
from oci.errors import InvalidInput

if TYPE_CHECKING:
    from oci.spec.config import Healthcheck, RunConfig

# What --clear takes → the name that the library has for it.
_CLEAR = {
    "annotations": "annotations",
    "author": "author",
    "cmd": "cmd",
    "created": "created",
    "entrypoint": "entrypoint",
    "env": "env",
    "healthcheck": "healthcheck",
    "hostname": "hostname",
    "labels": "labels",
    "onbuild": "on_build",
    "ports": "ports",
    "shell": "shell",
    "stop-signal": "stop_signal",
    "stop-timeout": "stop_timeout",
    "user": "user",
    "volumes": "volumes",
    "workdir": "workdir",
}
# The option's own name is taken too: --clear label is what --label set.
_ALSO = {"annotation": "annotations", "label": "labels", "port": "ports", "volume": "volumes"}


def _text(option: str, metavar: str, help_: str) -> Any:
    return typer.Option(option, metavar=metavar, help=help_, show_default=False)


def config(
    context: typer.Context,
    reference: options.Reference,
    tag: options.Target,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            "-e",
            metavar="NAME=VALUE|-NAME",
            help="Set a variable, or take it away; repeat.",
            show_default=False,
        ),
    ] = None,
    entrypoint: Annotated[
        str | None, _text("--entrypoint", "JSON|LINE", "A JSON array, or a line for the shell.")
    ] = None,
    cmd: Annotated[str | None, _text("--cmd", "JSON|LINE", "A JSON array, or a line for the shell.")] = None,
    user: Annotated[str | None, _text("--user", "USER[:GROUP]", "Who the program runs as.")] = None,
    workdir: Annotated[str | None, _text("--workdir", "PATH", "Where the program starts.")] = None,
    label: Annotated[
        list[str] | None, _text("--label", "NAME=VALUE|-NAME", "Set a label, or take it away; repeat.")
    ] = None,
    annotation: Annotated[
        list[str] | None,
        _text("--annotation", "NAME=VALUE|-NAME", "Set an annotation of the manifest, or take it away; repeat."),
    ] = None,
    port: Annotated[
        list[str] | None, _text("--port", "PORT[/PROTOCOL]|-PORT", "Say that it listens there, or not; repeat.")
    ] = None,
    volume: Annotated[list[str] | None, _text("--volume", "PATH|-PATH", "A place for data, or not; repeat.")] = None,
    stop_signal: Annotated[str | None, _text("--stop-signal", "SIGNAL", "What stops it, such as SIGTERM.")] = None,
    stop_timeout: Annotated[int | None, _text("--stop-timeout", "SECONDS", "How long it may take to stop.")] = None,
    healthcheck: Annotated[
        str | None, _text("--healthcheck", "JSON|LINE|NONE", "How docker asks whether it works.")
    ] = None,
    healthcheck_interval: Annotated[
        str | None, _text("--healthcheck-interval", "TIME", "Between two checks, such as 30s.")
    ] = None,
    healthcheck_timeout: Annotated[str | None, _text("--healthcheck-timeout", "TIME", "For one check.")] = None,
    healthcheck_start_period: Annotated[
        str | None, _text("--healthcheck-start-period", "TIME", "In which failures don't count.")
    ] = None,
    healthcheck_start_interval: Annotated[
        str | None, _text("--healthcheck-start-interval", "TIME", "Between two checks in that period.")
    ] = None,
    healthcheck_retries: Annotated[
        int | None, _text("--healthcheck-retries", "N", "Failures in a row that count.")
    ] = None,
    shell: Annotated[str | None, _text("--shell", "JSON", "What runs lines, as a JSON array.")] = None,
    onbuild: Annotated[
        list[str] | None, _text("--onbuild", "INSTRUCTION", "For builds on this image; repeat, in order.")
    ] = None,
    hostname: Annotated[str | None, _text("--hostname", "NAME", "Docker's Hostname.")] = None,
    author: Annotated[str | None, _text("--author", "TEXT", "Who made the image.")] = None,
    created: options.Created = None,
    platform: Annotated[
        str | None,
        _text("--platform", "OS/ARCH[/VARIANT]", "Of an index: which image. Of a single image: what it is for."),
    ] = None,
    clear: Annotated[
        list[str] | None, _text("--clear", "FIELD", f"Take a field away; repeat. One of {', '.join(_CLEAR)}.")
    ] = None,
    created_by: Annotated[str | None, _text("--created-by", "TEXT", "What the history says of it.")] = None,
    comment: Annotated[str | None, _text("--comment", "TEXT", "A comment for the history.")] = None,
    json: options.Json = False,
) -> None:
    """Change an image's config without touching its layers.

    What isn't named stays as it is, unknown fields too; layers keep their digests. Fields are cleared first, then set.
    A change of the config adds one history entry. Setting the entrypoint leaves the command: --clear cmd takes it away.

    \b
    Example:
      ocikit config ./images:app -t ./images:app --cmd '["/opt/app/run"]' --env LANG=C.UTF-8 --env -DEBUG
      ocikit config ./images:app -t ./images:web --user 1000:1000 --port 8080 --label version=2 --clear volumes
    """
    session = Session.of(context)
    changes = _cleared(clear or ())
    plain = {"user": user, "workdir": workdir, "stop_signal": stop_signal, "stop_timeout": stop_timeout}
    plain |= {"author": author, "hostname": hostname}
    changes |= {name: value for name, value in plain.items() if value is not None}
    given: dict[str, Mapping[str, Any]] = {
        "env": runconfig.pairs("--env", env or ()),
        "labels": runconfig.pairs("--label", label or ()),
        "annotations": runconfig.pairs("--annotation", annotation or ()),
        "ports": runconfig.members(port or ()),
        "volumes": runconfig.members(volume or ()),
    }
    if shell is not None:
        changes["shell"] = runconfig.array("--shell", shell)
    times = {
        "interval": healthcheck_interval,
        "timeout": healthcheck_timeout,
        "start_period": healthcheck_start_period,
        "start_interval": healthcheck_start_interval,
    }
    target = sources.parse_destination(tag)
    stamp = session.created(created)
    from oci.image.builder import ImageBuilder

    with building.workplace(session, reference, target, platform) as place:
        if place.base is None:
            raise UsageError("config changes an image that is there; `ocikit append scratch …` makes one")
        run = place.base.config.model.run
        changes |= _collections(changes, given, run, place.base.manifest.model.annotations)
        line_shell = changes.get("shell", run.shell)
        for name, text in (("entrypoint", entrypoint), ("cmd", cmd)):
            if text is not None:
                changes[name] = runconfig.words(f"--{name}", text, line_shell)
        if onbuild:
            changes["on_build"] = (*(() if "on_build" in changes else run.on_build or ()), *onbuild)
        old_check = None if "healthcheck" in changes else run.healthcheck
        check = _healthcheck(old_check, healthcheck, times, healthcheck_retries)
        if check is not None:
            changes["healthcheck"] = check
        if platform is not None and not place.from_index:
            changes["platform"] = options.parse_platform(platform)
        builder = ImageBuilder(place.blobs, place.base, created=stamp)
        try:
            builder.configure(created_by=created_by, comment=comment, **changes)
        except InvalidInput as error:
            raise UsageError(str(error)) from None
        written = place.finish(builder.finish())
    sources.say_written(tag, target, written, json=json)


def _cleared(fields: Any) -> dict[str, Any]:
    cleared: dict[str, Any] = {}
    for field in fields:
        name = _ALSO.get(field, field)
        if name not in _CLEAR:
            raise UsageError(f"--clear {field!r}: not one of {', '.join(_CLEAR)}")
        cleared[_CLEAR[name]] = None
    return cleared


def _collections(
    cleared: Mapping[str, Any],
    given: Mapping[str, Mapping[str, Any]],
    run: RunConfig,
    annotations: Mapping[str, str],
) -> dict[str, Any]:
    """The changes of maps and sets; one that is cleared and set at once loses every member that was there before."""
    there: dict[str, tuple[Iterable[str], Any]] = {
        "env": ((line.partition("=")[0] for line in run.env or ()), None),
        "labels": (run.labels or (), None),
        "annotations": (annotations, None),
        "ports": (run.exposed_ports or (), False),
        "volumes": (run.volumes or (), False),
    }
    changes: dict[str, Any] = {}
    for name, wanted in given.items():
        if not wanted:
            continue
        members, away = there[name]
        changes[name] = {**dict.fromkeys(members, away), **wanted} if name in cleared else wanted
    return changes


def _healthcheck(
    old: Healthcheck | None, test: str | None, times: Mapping[str, str | None], retries: int | None
) -> Healthcheck | None:
    """The healthcheck with what was given changed; None where nothing was."""
    from oci.spec.config import Healthcheck

    changes: dict[str, Any] = {
        name: runconfig.duration(f"--healthcheck-{name.replace('_', '-')}", text)
        for name, text in times.items()
        if text is not None
    }
    if retries is not None:
        changes["retries"] = retries
    if test is not None:
        changes["test"] = runconfig.healthcheck_test(test)
    return (old or Healthcheck()).replace(**changes) if changes else None
