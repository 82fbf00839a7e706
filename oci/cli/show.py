"""`inspect` and `history`: what one image is."""

from __future__ import annotations

import json as json_
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from oci.cli import options, output, sources
from oci.cli.failures import UsageError
from oci.cli.lazily import Annotated, Any, typer
from oci.cli.session import Session
from oci.errors import show
from oci.spec.reference import ArchiveRef, LayoutRef, StoreRef

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.image.image import Image
    from oci.inspect.summary import Summary
    from oci.spec.descriptor import Descriptor
    from oci.spec.platform import Platform
    from oci.transports.base import ImageSource


@contextmanager
def opened(context: typer.Context, reference: str) -> Iterator[ImageSource]:
    with sources.open_source(Session.of(context), reference) as source:
        yield source


def load(source: ImageSource, platform: str | None) -> Image:
    from oci.image.image import Image

    return Image.load(source, source.resolve(sources.wanted_platform(platform)))


def inspect(
    context: typer.Context,
    reference: options.Reference,
    manifest: Annotated[bool, typer.Option("--manifest", help="The image's manifest.")] = False,
    config: Annotated[bool, typer.Option("--config", help="The image's config.")] = False,
    index: Annotated[
        bool, typer.Option("--index", help="The index that REF names; without a tag, the layout's index.json.")
    ] = False,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="Exactly the stored bytes; without another selector, of what REF names, index or not."
        ),
    ] = False,
    kind: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="container|image",
            help="What REF is; default: a container if there is one of that name, else an image.",
            show_default=False,
        ),
    ] = None,
    platform: options.PlatformName = None,
    json: options.Json = False,
) -> None:
    """Show what an image or a container is, or exactly the bytes of an image's documents.

    Without a selector: a summary. With --manifest, --config or --index: that document, laid out to be read; together
    with --raw the bytes as they are stored, whose digest is the document's.

    \b
    Example:
      ocikit inspect ./images:v2
      ocikit inspect oci-archive:v2.tar --json
      ocikit inspect ./images:v2 --config --raw | sha256sum
    """
    chosen = [name for name, wanted in (("manifest", manifest), ("config", config), ("index", index)) if wanted]
    if len(chosen) > 1:
        raise UsageError(f"--{' and --'.join(chosen)}: choose one document")
    if raw and json:
        raise UsageError("--raw gives the bytes as they are stored, --json a summary; choose one")
    if kind not in (None, "container", "image"):
        raise UsageError(f"--type {show(kind)!r}: not one of container, image")
    if _shown_as_container(Session.of(context), reference, kind, bool(chosen or raw or platform), json):
        return
    with opened(context, reference) as source:
        if chosen or raw:
            data = _document(source, reference, chosen[0] if chosen else "", platform)
            output.raw(data) if raw else output.document(_parsed(data))
            return
        from oci.inspect.summary import summarise

        summary = summarise(load(source, platform), reference)
    if json:
        output.document(summary.to_json())
    else:
        _print_summary(summary)


def _shown_as_container(session: Session, text: str, kind: str | None, selects: bool, json: bool) -> bool:
    """Show a container, where REF is one's name or ID and nothing says that an image is meant."""
    if kind == "image" or (kind is None and selects):
        return False
    if kind is None and not isinstance(sources.parse(text), StoreRef):
        return False
    if selects:
        raise UsageError("--type container: --manifest, --config, --index, --raw and --platform are about images")
    from oci.cli.storing import container_of, open_store

    if kind is None and container_of(session, text) is None:
        return False
    from oci.cli.container_rows import details, print_details
    from oci.container.container import Container
    from oci.container.status import reconcile

    with open_store(session, create=False) as store:
        container = reconcile(Container.find(store, text))
        if json:
            output.document(details(container))
        else:
            print_details(container, store.clock())
    return True


def _parsed(data: bytes) -> Any:
    """The document as JSON values; strictly read, so that what is shown is what there is."""
    from oci.spec import wire

    return wire.loads(data, document="document", limit=len(data))


def _document(source: ImageSource, reference: str, which: str, platform: str | None) -> bytes:
    """The stored bytes of the manifest, the config, the index, or (no selector) of what the reference names."""
    from oci.layout.documents import read_bytes
    from oci.spec import media_types

    if which == "index":
        place = sources.parse(reference)
        if isinstance(place, LayoutRef | ArchiveRef) and place.tag is None and place.digest is None:
            with sources.open_place(place) as opened:
                return opened.index().raw
        top = source.resolve(None)
        if not media_types.is_index(top.media_type):
            raise UsageError(f"{reference} names a single image, not an index")
        return read_bytes(source, top)
    if which == "config":
        return load(source, platform).config.raw
    narrow: Platform | None = sources.wanted_platform(platform) if which or platform else None
    found: Descriptor = source.resolve(narrow)
    return read_bytes(source, found)


def _print_summary(summary: Summary) -> None:
    config = summary.config
    output.facts(
        [
            ("Reference", summary.reference),
            ("Digest", str(summary.digest)),
            ("Media type", summary.media_type),
            ("Platform", str(summary.platform)),
            ("Size", output.size(summary.size)),
            ("Created", output.when(summary.created)),
            ("Author", summary.author),
            *((name, _shown(config[key])) for name, key in _CONFIG if key in config),
        ]
    )
    for title, values in (("Labels", config.get("Labels")), ("Annotations", summary.annotations)):
        if isinstance(values, Mapping) and values:
            print(f"{title}:")
            for key, value in values.items():
                print(f"  {output.printable(key)}={output.printable(str(value))}")
    print("Layers:" if summary.layers else "Layers:  none")
    for number, layer in enumerate(summary.layers):
        print(
            f"  {number}  {output.printable(str(layer.digest))}  {output.size(layer.size):>7}"
            f"  {_kind(layer.media_type)}"
        )


_CONFIG = (
    ("User", "User"),
    ("Entrypoint", "Entrypoint"),
    ("Command", "Cmd"),
    ("Working dir", "WorkingDir"),
    ("Environment", "Env"),
    ("Ports", "ExposedPorts"),
    ("Volumes", "Volumes"),
    ("Stop signal", "StopSignal"),
    ("Shell", "Shell"),
    ("On build", "OnBuild"),
    ("Healthcheck", "Healthcheck"),
)


def _shown(value: object) -> str | None:
    """A config's field in one line: words as they would be typed, sets as their names, the rest as JSON."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        import shlex

        return shlex.join(value) or None
    if isinstance(value, Mapping) and all(item == {} for item in value.values()):
        return ", ".join(value) or None
    return json_.dumps(value)


def _kind(media_type: str) -> str:
    """A layer's media type without what all of them share."""
    short = media_type.removeprefix("application/").removeprefix("vnd.oci.image.layer.").removeprefix("v1.")
    return output.printable(short)


def history(
    context: typer.Context,
    reference: options.Reference,
    platform: options.PlatformName = None,
    json: options.Json = False,
) -> None:
    """Show how an image was made, each step beside its layer.

    Oldest step first. A step that only changed the config has no layer; a layer of which no step speaks has a line of
    its own.

    \b
    Example:
      ocikit history ./images:v2
    """
    from oci.inspect.history import history as steps_of

    with opened(context, reference) as source:
        steps = steps_of(load(source, platform))
    if json:
        output.document([step.to_json() for step in steps])
        return
    rows = [
        [
            output.when(step.created),
            output.size(step.size) if step.digest else "-",
            output.short(step.digest) if step.digest else "(no layer)",
            " ".join((step.created_by or "").split()) + (f"  # {step.comment}" if step.comment else ""),
        ]
        for step in steps
    ]
    output.table(["CREATED", "SIZE", "LAYER", "CREATED BY"], rows, right=[1])
