"""`artifact push|pull|inspect`: files in a registry, a layout or an archive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from oci.cli import options, output, sources
from oci.cli.artifact_files import draft, media_type
from oci.cli.failures import UsageError, blamed_on
from oci.cli.lazily import typer
from oci.cli.session import Session

if TYPE_CHECKING:
    from oci.artifact.describe import Artifact, Content
    from oci.spec.descriptor import Descriptor
    from oci.transports.base import ImageSource


def artifact() -> None:
    """Push, pull and inspect artifacts: files in a registry, a layout or an archive.

    An artifact is a manifest whose layers are files, each with its path as its title (OCI image spec 1.1). oras reads
    what is pushed here, and the other way round.

    \b
    Example:
      ocikit artifact push docker://localhost:5000/reports:v1 report.json:application/json docs
      ocikit artifact pull docker://localhost:5000/reports:v1 -o reports
    """


def push(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="Where the artifact goes.", show_default=False)],
    files: options.ArtifactFiles = None,
    artifact_type: Annotated[
        str | None,
        typer.Option(
            "--artifact-type",
            metavar="TYPE",
            help="What kind of artifact it is, as a media type; default: that of --config, else unknown.",
            show_default=False,
        ),
    ] = None,
    config: options.ArtifactConfig = None,
    annotation: options.AnnotationWords = None,
    annotation_file: options.AnnotationFile = None,
    created: options.ArtifactCreated = None,
    json: options.Json = False,
) -> None:
    """Push files and directories as an artifact.

    Each FILE becomes a layer, titled by its path as it is written here (of an absolute path, by its last name); a
    directory becomes one tar+gzip, which `artifact pull` and oras unpack again. The same files give the same digest.

    \b
    Example:
      ocikit artifact push docker://localhost:5000/reports:v1 report.json:application/json docs
      ocikit artifact push ./reports:v1 report.json --artifact-type application/vnd.example.report --annotation team=qa
    """
    from oci.artifact.pack import push as push_files

    session = Session.of(context)
    wanted = draft(
        session,
        files=files,
        artifact_type=None if artifact_type is None else media_type("--artifact-type", artifact_type),
        config=config,
        annotation=annotation,
        annotation_file=annotation_file,
        created=created,
    )
    target = sources.parse_destination(reference)
    with sources.open_for_writing(session, target) as destination, session.progress("pushing") as progress:
        written = push_files(destination, wanted, progress=progress, warn=session.warn)
    sources.say_written(reference, target, written, json=json)


def pull(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The artifact.", show_default=False)],
    directory: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR", help="Where the files go; it is made.", show_default=".")
    ] = ".",
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            metavar="GLOB",
            help="Only files whose title matches, such as '*.json' ('*' matches '/' too); repeat.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files and directories that are there.")] = False,
    unpacking: Annotated[
        str,
        typer.Option(
            "--unpack",
            metavar="annotated|always|never",
            help="Which layers become directories: those marked so, also all of type tar+gzip, or none.",
        ),
    ] = "annotated",
    platform: options.PlatformName = None,
    json: options.Json = False,
) -> None:
    """Write the files of an artifact to a directory.

    Each layer with a title becomes a file of that name below DIR; nothing is ever written elsewhere, whatever the title
    says, and nothing through a symbolic link. Everything is verified before the first file gets its name: a pull that
    fails leaves DIR as it was. Files that are there are kept, and said, unless --force replaces them.

    \b
    Example:
      ocikit artifact pull docker://localhost:5000/reports:v1 -o reports
      ocikit artifact pull ./reports:v1 -o reports --include '*.json' --force
    """
    from oci.artifact.pull import pull as pull_files

    session = Session.of(context)
    if unpacking not in ("annotated", "always", "never"):
        raise UsageError(f"--unpack {unpacking!r}: not one of annotated, always, never")
    with (
        _opened(session, reference, platform) as (source, found),
        blamed_on(directory),
        session.progress("pulling") as progress,
    ):
        pulled = pull_files(
            source,
            found,
            directory,
            include=include or (),
            unpacking=unpacking,  # type: ignore[arg-type]
            force=force,
            progress=progress,
            warn=session.warn,
        )
    if pulled.untitled and not json:
        session.note(f"left out {len(pulled.untitled)} of {len(pulled.artifact.contents)} layers, which have no title")
    if json:
        output.document(
            {
                "reference": reference,
                "digest": str(found.digest),
                "artifactType": pulled.artifact.type,
                "directory": directory,
                "files": [
                    _described(item.content) | {"path": item.where, "folder": item.folder} for item in pulled.items
                ],
                "untitled": [str(descriptor.digest) for descriptor in pulled.untitled],
            }
        )
    else:
        for item in pulled.items:
            print(output.printable(item.where + ("/" if item.folder else "")))


def inspect(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The artifact.", show_default=False)],
    platform: options.PlatformName = None,
    json: options.Json = False,
) -> None:
    """Show an artifact's type, its files, and what it is attached to.

    \b
    Example:
      ocikit artifact inspect docker://localhost:5000/reports:v1
    """
    from oci.artifact.describe import read_artifact

    session = Session.of(context)
    with _opened(session, reference, platform) as (source, found):
        artifact = read_artifact(source, found)
    if json:
        output.document(_summary(reference, artifact))
        return
    output.facts(
        [
            ("Reference", reference),
            ("Digest", str(found.digest)),
            ("Artifact type", artifact.type),
            ("Subject", None if artifact.subject is None else str(artifact.subject.digest)),
            *((f"  {output.printable(key)}", value) for key, value in artifact.annotations.items()),
        ]
    )
    if artifact.contents:
        print()
        output.table(
            ("FILE", "SIZE", "DIGEST", "TYPE"),
            [
                (
                    "-" if one.title is None else one.title + ("/" if one.folder else ""),
                    output.size(one.descriptor.size),
                    output.short(one.descriptor.digest),
                    one.descriptor.media_type,
                )
                for one in artifact.contents
            ],
            right=(1,),
        )


@contextmanager
def _opened(session: Session, reference: str, platform: str | None) -> Iterator[tuple[ImageSource, Descriptor]]:
    """Open an artifact; of an index, the manifest for the platform."""
    from oci.spec.media_types import is_index

    with sources.open_source(session, reference) as source:
        found = source.resolve(None)
        if platform is not None or is_index(found.media_type):
            found = source.resolve(sources.wanted_platform(platform))
        yield source, found


def _described(content: Content) -> dict[str, Any]:
    return {
        "title": content.title,
        "mediaType": content.descriptor.media_type,
        "digest": str(content.descriptor.digest),
        "size": content.descriptor.size,
        "folder": content.folder,
    }


def _summary(reference: str, artifact: Artifact) -> dict[str, Any]:
    subject = artifact.subject
    return {
        "reference": reference,
        "digest": str(artifact.descriptor.digest),
        "mediaType": artifact.descriptor.media_type,
        "artifactType": artifact.type,
        "config": {"mediaType": artifact.config.media_type, "digest": str(artifact.config.digest)},
        "subject": None if subject is None else str(subject.digest),
        "annotations": dict(artifact.annotations),
        "files": [
            _described(content) | {"annotations": dict(content.descriptor.annotations)} for content in artifact.contents
        ],
    }
