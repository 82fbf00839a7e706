"""What a command line says of an artifact's files: FILE[:TYPE], the config, annotations, a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from oci.cli.failures import UsageError
from oci.cli.lazily import typer
from oci.cli.session import Session
from oci.errors import InvalidInput

if TYPE_CHECKING:
    from oci.artifact.files import Annotations, Draft

Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE[:TYPE]",
        help="A file or directory, and the media type it gets in the artifact.",
        show_default=False,
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config", metavar="FILE[:TYPE]", help="The artifact's config; default: the empty one.", show_default=False
    ),
]
AnnotationWords = Annotated[
    list[str] | None,
    typer.Option(
        "--annotation", metavar="KEY=VALUE", help="An annotation of the manifest; repeat.", show_default=False
    ),
]
AnnotationFile = Annotated[
    str | None,
    typer.Option(
        "--annotation-file",
        metavar="FILE",
        help='JSON, as oras has it: {"$manifest": {KEY: VALUE}, "$config": {…}, "FILE": {…}}.',
        show_default=False,
    ),
]
Created = Annotated[
    str | None,
    typer.Option(
        "--created",
        metavar="TIME",
        help="When it was made, RFC 3339; default: SOURCE_DATE_EPOCH, else nothing says it.",
        show_default=False,
    ),
]


def draft(
    session: Session,
    *,
    files: Sequence[str] | None,
    artifact_type: str | None,
    config: str | None,
    annotation: Sequence[str] | None,
    annotation_file: str | None,
    created: str | None,
) -> Draft:
    """Read and check what the command line says of an artifact, before anything is opened."""
    from oci.artifact.files import Draft, File

    try:
        named = tuple(File.parse(text) for text in files or ())
        named_config = None if config is None else File.parse(config)
    except InvalidInput as error:
        raise UsageError(str(error)) from None
    annotations = _annotations(annotation or (), annotation_file)
    for name in annotations.unused(named):
        session.warn(f"{annotation_file}: annotates {name!r}, which is no FILE of this command")
    return Draft(
        files=named,
        artifact_type=artifact_type,
        config=named_config,
        annotations=annotations,
        created=session.created(created),
    )


def _annotations(words: Sequence[str], path: str | None) -> Annotations:
    from oci.artifact.files import Annotations, read_annotations

    found = Annotations() if path is None else read_annotations(path)
    manifest = dict(found.manifest)
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise UsageError(f"--annotation {word!r}: expected KEY=VALUE")
        manifest[key] = value
    return found.replace(manifest=manifest)


def media_type(option: str, text: str) -> str:
    """Read an option that is a media type."""
    from oci.spec.media_types import is_media_type

    if not is_media_type(text):
        raise UsageError(f"{option} {text!r}: not a media type (type/subtype, RFC 6838 section 4.2)")
    return text
