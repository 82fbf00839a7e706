"""What a command line says of an artifact's files: FILE[:TYPE], the config, annotations, a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from oci.cli.failures import UsageError
from oci.cli.session import Session
from oci.errors import InvalidInput

if TYPE_CHECKING:
    from oci.artifact.files import Annotations, Draft


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
