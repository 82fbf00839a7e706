"""`artifact push|pull|inspect` and `attach`: files in a registry, a layout or an archive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oci.cli import options, output, sources
from oci.cli.failures import UsageError, blamed_on
from oci.cli.session import Session
from oci.errors import InvalidInput
from oci.spec.reference import LayoutRef, RegistryRef

if TYPE_CHECKING:
    from oci.artifact.describe import Artifact, Content
    from oci.artifact.files import Annotations, File
    from oci.spec.descriptor import Descriptor
    from oci.transports.base import ImageSource

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
    files: Files = None,
    artifact_type: Annotated[
        str | None,
        typer.Option(
            "--artifact-type",
            metavar="TYPE",
            help="What kind of artifact it is, as a media type; default: that of --config, else unknown.",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    annotation: AnnotationWords = None,
    annotation_file: AnnotationFile = None,
    created: Created = None,
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
    given = _Given(session, files, config, annotation, annotation_file)
    time = session.created(created)
    target = sources.parse_destination(reference)
    with sources.open_for_writing(session, target) as destination, session.progress("pushing") as progress:
        written = push_files(
            destination,
            given.files,
            artifact_type=_media_type("--artifact-type", artifact_type),
            config=given.config,
            annotations=given.annotations,
            created=time,
            progress=progress,
            warn=session.warn,
        )
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


def attach(
    context: typer.Context,
    reference: Annotated[
        str, typer.Argument(metavar="REF", help="The image or artifact to attach to.", show_default=False)
    ],
    files: Files = None,
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
    config: Config = None,
    annotation: AnnotationWords = None,
    annotation_file: AnnotationFile = None,
    created: Created = None,
    json: options.Json = False,
) -> None:
    """Attach files to an image or artifact: an SBOM, a signature, a test report.

    What is attached is an artifact of its own, without a tag, whose subject is REF's manifest. `referrers` lists it; in
    a registry it lies beside the image, in a layout directory it has an entry without a name.

    \b
    Example:
      ocikit attach docker://localhost:5000/app:v1 sbom.json:application/spdx+json --type application/spdx+json
      ocikit attach ./images:v2 --type application/vnd.example.review --annotation verdict=good
    """
    from oci.artifact.attach import attach as attach_files

    session = Session.of(context)
    if not artifact_type:
        raise UsageError("say what is attached: --type, a media type such as application/spdx+json")
    kind = _media_type("--type", artifact_type)
    assert kind is not None
    given = _Given(session, files, config, annotation, annotation_file)
    if not given.files and not given.annotations.manifest:
        raise UsageError("there is nothing to attach: name a file, or give --annotation")
    time = session.created(created)
    subject_ref = _writable_beside(reference)
    wanted = options.parse_platform(platform)
    with _where_it_goes(session, subject_ref) as source:
        subject = source.resolve(wanted)
    target = subject_ref.replace(tag=None, digest=None)
    with sources.open_for_writing(session, target) as destination, session.progress("attaching") as progress:
        written = attach_files(
            destination,
            subject,
            given.files,
            artifact_type=kind,
            config=given.config,
            annotations=given.annotations,
            created=time,
            progress=progress,
            warn=session.warn,
        )
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
        sources.say_written(reference, target, written, json=False)


class _Given:
    """What the command line says of files and annotations, read and checked before anything is opened."""

    def __init__(
        self,
        session: Session,
        files: Sequence[str] | None,
        config: str | None,
        annotation: Sequence[str] | None,
        annotation_file: str | None,
    ) -> None:
        from oci.artifact.files import File

        try:
            self.files: list[File] = [File.parse(text) for text in files or ()]
            self.config: File | None = None if config is None else File.parse(config)
        except InvalidInput as error:
            raise UsageError(str(error)) from None
        self.annotations = self._annotations(annotation or (), annotation_file)
        for name in self.annotations.unused(self.files):
            session.warn(f"{annotation_file}: annotates {name!r}, which is no FILE of this command")

    @staticmethod
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


def _media_type(option: str, text: str | None) -> str | None:
    from oci.spec.media_types import is_media_type

    if text is not None and not is_media_type(text):
        raise UsageError(f"{option} {text!r}: not a media type (type/subtype, RFC 6838 section 4.2)")
    return text


@contextmanager
def _opened(session: Session, reference: str, platform: str | None) -> Iterator[tuple[ImageSource, Descriptor]]:
    """Open an artifact; of an index, the manifest for the platform."""
    from oci.spec.media_types import is_index

    with _source(session, sources.parse(reference)) as source:
        found = source.resolve(None)
        if platform is not None or is_index(found.media_type):
            found = source.resolve(sources.wanted_platform(platform))
        yield source, found


def _source(session: Session, reference: Any) -> ImageSource:
    return sources.open_source(session, reference)


def _where_it_goes(session: Session, reference: Any) -> ImageSource:
    """Open the subject where it is written beside: no mirror says what a tag stands for there."""
    if not isinstance(reference, RegistryRef):
        return _source(session, reference)
    from oci.cli.registries import settings_from
    from oci.registry.connect import connect_push
    from oci.transports.from_registry import RegistrySource

    settings = settings_from(session, reference.registry)
    return RegistrySource(reference, connect_push(reference, settings), settings)


def _writable_beside(text: str) -> Any:
    """Where a referrer can be put beside its subject: a registry or a layout directory."""
    reference = sources.parse(text)
    if not isinstance(reference, LayoutRef | RegistryRef):
        raise UsageError(
            f"{output.printable(text)}: attach works in a registry or a layout directory; copy it there first"
        )
    return reference


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
