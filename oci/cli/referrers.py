"""What refers to an image: `referrers` lists it, `attach` adds to it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

from oci.cli import options, output, sources
from oci.cli.artifact_files import draft, media_type
from oci.cli.failures import UsageError
from oci.cli.lazily import typer
from oci.cli.session import Session
from oci.errors import show
from oci.spec import media_types
from oci.spec.annotations import CREATED
from oci.spec.reference import LayoutRef, RegistryRef, StoreRef

if TYPE_CHECKING:
    from oci.transports.base import ImageDestination, ImageSource

__all__ = ["attach", "referrers"]

_Beside = LayoutRef | RegistryRef | StoreRef


def referrers(
    context: typer.Context,
    reference: options.Reference,
    artifact_type: Annotated[
        str | None,
        typer.Option("--artifact-type", metavar="TYPE", help="Only those of this type.", show_default=False),
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option(
            "--platform",
            metavar="OS/ARCH[/VARIANT]",
            help="Of this image of an index; default: of what REF names.",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """List what refers to an image: signatures, SBOMs, attestations.

    Those are manifests with the image as their subject, attached by `attach` or by other tools; a registry is asked by
    its referrers API, or else by the tag that stands for it. Layouts and archives have them among their entries.

    \b
    Example:
      ocikit referrers docker://localhost:5000/app:v1
      ocikit referrers ./images:v2 --artifact-type application/spdx+json --json
    """
    from oci.layout.documents import artifact_type_of

    session = Session.of(context)
    if artifact_type is not None and not media_types.is_media_type(artifact_type):
        raise UsageError(f"--artifact-type {show(artifact_type)!r}: not a media type")
    with sources.open_primary(session, reference) as source:
        subject = source.resolve(options.parse_platform(platform))
        found = [
            (entry, kind)
            for entry in source.referrers(subject, artifact_type=artifact_type)
            if artifact_type in (None, kind := artifact_type_of(source, entry))
        ]
    if json:
        output.document(
            {
                "reference": reference,
                "subject": str(subject.digest),
                "referrers": [
                    {
                        "digest": str(entry.digest),
                        "mediaType": entry.media_type,
                        "artifactType": kind,
                        "size": entry.size,
                        "annotations": dict(entry.annotations),
                    }
                    for entry, kind in found
                ],
            }
        )
    elif found:
        rows = [
            [str(entry.digest), kind or "-", output.size(entry.size), output.when(entry.annotations.get(CREATED))]
            for entry, kind in found
        ]
        output.table(["DIGEST", "TYPE", "SIZE", "CREATED"], rows, right=[2])
    else:
        session.note(f"nothing refers to {subject.digest}")


def attach(
    context: typer.Context,
    reference: Annotated[
        str, typer.Argument(metavar="REF", help="The image or artifact to attach to.", show_default=False)
    ],
    files: options.ArtifactFiles = None,
    artifact_type: Annotated[
        str,
        typer.Option(
            "--type",
            "--artifact-type",
            metavar="TYPE",
            help="What is attached, as a media type: application/spdx+json, …",
            show_default=False,
        ),
    ] = "",
    platform: Annotated[
        str | None,
        typer.Option(
            "--platform",
            metavar="OS/ARCH[/VARIANT]",
            help="Attach to this image of an index; default: to what REF names.",
            show_default=False,
        ),
    ] = None,
    config: options.ArtifactConfig = None,
    annotation: options.AnnotationWords = None,
    annotation_file: options.AnnotationFile = None,
    created: options.ArtifactCreated = None,
    no_stdin: Annotated[bool, typer.Option("--no-stdin", help="Of a running container: only look.")] = False,
    detach_keys: options.DetachKeys = None,
    json: options.Json = False,
) -> None:
    """Attach files to an image, such as an SBOM or a signature; or yourself to a container.

    What is attached is an artifact of its own, without a tag, whose subject is REF's manifest. `referrers` lists it; in
    a registry it lies beside the image, in a layout directory it has an entry without a name.

    Where nothing is said to be attached and REF is a running container, its output comes here from now on, and our
    input goes there, where it was made with -i; the exit status is then the container's.

    \b
    Example:
      ocikit attach docker://localhost:5000/app:v1 sbom.json:application/spdx+json --type application/spdx+json
      ocikit attach ./images:v2 --type application/vnd.example.review --annotation verdict=good
      ocikit attach web --no-stdin
    """
    session = Session.of(context)
    if not (artifact_type or files or config or annotation or annotation_file) and _is_container(session, reference):
        from oci.cli.running import attach_to

        attach_to(session, reference, no_stdin=no_stdin, detach_keys=detach_keys)
        return
    from oci.artifact.attach import attach as attach_files

    if not artifact_type:
        raise UsageError("say what is attached: --type, a media type such as application/spdx+json")
    wanted = draft(
        session,
        files=files,
        artifact_type=media_type("--type", artifact_type),
        config=config,
        annotation=annotation,
        annotation_file=annotation_file,
        created=created,
    )
    if not wanted.files and not wanted.annotations.manifest:
        raise UsageError("there is nothing to attach: name a file, or give --annotation")
    subject_ref = _writable_beside(reference)
    chosen = options.parse_platform(platform)
    with _where_it_goes(session, subject_ref) as source:
        subject = source.resolve(chosen)
    with _beside(session, subject_ref) as destination, session.progress("attaching") as progress:
        written = attach_files(destination, subject, wanted, progress=progress, warn=session.warn)
    if json:
        output.document(
            {
                "reference": reference,
                "digest": str(written.digest),
                "mediaType": written.media_type,
                "size": written.size,
                "artifactType": artifact_type,
                "subject": str(subject.digest),
            }
        )
    else:
        sources.say_written(reference, subject_ref, written, json=False)


def _is_container(session: Session, text: str) -> bool:
    from oci.cli.storing import container_of

    return container_of(session, text) is not None


def _beside(session: Session, reference: _Beside) -> AbstractContextManager[ImageDestination]:
    """Open the place of the subject for writing something without a name."""
    if isinstance(reference, StoreRef):
        from oci.cli.storing import open_for_storing

        return open_for_storing(session, None)
    return sources.open_for_writing(session, reference.replace(tag=None, digest=None))


def _where_it_goes(session: Session, reference: _Beside) -> ImageSource:
    """Open the subject where it is written beside."""
    if not isinstance(reference, RegistryRef):
        return sources.open_source(session, reference)
    from oci.cli.registries import opener

    return opener(session, reference.registry).written(reference)


def _writable_beside(text: str) -> _Beside:
    """Where a referrer can be put beside its subject: a registry, a layout directory or the store."""
    reference = sources.parse(text)
    if not isinstance(reference, _Beside):
        raise UsageError(
            f"{output.printable(text)}: attach works in a registry, a layout directory or the local store; "
            "copy it there first"
        )
    return reference
