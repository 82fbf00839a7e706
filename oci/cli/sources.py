"""From what a person wrote to what the library takes: references, layouts, archives; and which of them can be written.

A reference that can't be right is wrong usage (exit status 2); one that names nothing is a failure (1).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from oci.cli import output
from oci.cli.failures import UsageError, blamed_on
from oci.errors import InvalidReference, LayoutError, OciError, show
from oci.lazily import re
from oci.spec.platform import Platform
from oci.spec.reference import (
    ArchiveRef,
    DockerArchiveRef,
    LayoutRef,
    Reference,
    RegistryRef,
    StoreRef,
    parse_reference,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.cli.session import Session
    from oci.layout.archive import Archive
    from oci.layout.layout import Layout
    from oci.spec.descriptor import Descriptor
    from oci.transports.base import ImageDestination, ImageSource

_TRANSPORTS = ("oci:", "oci-archive:", "docker-archive:", "docker:")
LocalRef = LayoutRef | ArchiveRef | DockerArchiveRef
ImageRef = Reference


def parse(text: str) -> ImageRef:
    """Read a reference to an image on disk, in a registry or in the local store."""
    try:
        reference = parse_reference(text)
    except InvalidReference as error:
        raise UsageError(f"{error}{_did_you_mean(text)}") from None
    if isinstance(reference, RegistryRef) and re.fullmatch(r"docker://(?:localhost|[^/:]+\.[^/:]+):[0-9]+", text):
        # Docker's grammar has it as a tag of Docker Hub's library/localhost, which nobody means.
        raise UsageError(f"{show(text)}: the repository's name is missing, as in {show(text)}/app")
    return reference


def _did_you_mean(text: str) -> str:
    path = text.split(":", 1)[0]
    return f"; a layout is named by its path: ./{show(text)}" if path and os.path.lexists(path) else ""


def parse_layout(text: str, *, what: str) -> LayoutRef:
    """Read a reference that has to be of a layout directory, because `what` writes there."""
    reference = parse(text)
    if not isinstance(reference, LayoutRef):
        raise UsageError(f"{show(text)}: {what} works on a layout directory; copy the image to one first")
    return reference


def parse_place(text: str) -> ImageRef:
    """Read what names a whole layout or archive: a reference, or just the path of a directory or file."""
    if text.startswith(_TRANSPORTS) or not os.path.lexists(text):
        return parse(text)
    return LayoutRef(text) if os.path.isdir(text) else _archive_kind(text)


def _path_or_reference(text: str) -> ImageRef:
    """A path needs no ./ here, where no name of the local store is expected; a colon makes it a reference."""
    return LayoutRef(text) if text and ":" not in text else parse(text)


def _archive_kind(path: str) -> LocalRef:
    """An archive by its path alone: which of the two kinds, by what is in it."""
    from oci.layout.tar_files import TarFiles

    with TarFiles(path) as files:
        if "oci-layout" in files:
            return ArchiveRef(path)
        if "manifest.json" in files:
            return DockerArchiveRef(path)
    raise LayoutError(path, "is neither an oci-archive nor a docker-archive")


def layout_path(text: str) -> str:
    """The directory that `init` and `gc` work on: PATH, oci:PATH; a tag makes no sense there."""
    reference = LayoutRef(text) if os.path.isdir(text) else _path_or_reference(text)
    if not isinstance(reference, LayoutRef):
        raise UsageError(f"{show(text)}: this works on a layout directory")
    if reference.tag is not None or reference.digest is not None:
        raise UsageError(f"{show(text)}: name the layout alone, without a tag: {show(reference.path)}")
    return reference.path


def open_layout(path: str) -> Layout:
    """Open an existing layout directory."""
    from oci.layout.layout import Layout

    return Layout.open(path)


def open_place(reference: LayoutRef | ArchiveRef) -> Layout | Archive:
    """Open a layout directory or an archive of one; both are context managers with the same reading interface."""
    if isinstance(reference, LayoutRef):
        return open_layout(reference.path)
    from oci.layout.archive import Archive

    return Archive.open(reference.path)


def host_platform() -> Platform:
    """This machine's platform, as images name it."""
    system = os.uname()
    return Platform(system.sysname.lower(), system.machine).normalized()


def wanted_platform(text: str | None) -> Platform:
    """`--platform`, else this machine's."""
    from oci.cli.options import parse_platform

    return parse_platform(text) or host_platform()


def parse_destination(text: str) -> ImageRef:
    """Read a reference that is written to: a digest makes no sense there."""
    reference = parse(text)
    if isinstance(reference, StoreRef):
        whole = reference.normalized
        if whole is None:
            raise UsageError(f"{show(text)}: that is an image's ID, which follows from what is written; give a name")
        digest = whole.digest
    else:
        digest = None if isinstance(reference, DockerArchiveRef) else reference.digest
    if digest is not None:
        raise UsageError(f"{show(text)}: a destination is named by a tag; its digest follows from what is written")
    return reference


def parse_name_for(text: str) -> StoreRef:
    """Read the name that an image gets in the store."""
    reference = parse_destination(text)
    if not isinstance(reference, StoreRef):
        raise UsageError(f"{show(text)}: expected a name in the local store, such as app:v1")
    return reference


def prepare(session: Session, *ends: tuple[ImageRef, str]) -> None:
    """Read and check all that is said about the registries at a command's two ends, before the first of them is asked.

    Otherwise one would be sent credentials of which it turns out that they can't be meant for both.
    """
    for reference, side in ends:
        if isinstance(reference, RegistryRef):
            from oci.cli.registries import settings_from

            settings_from(session, reference.registry, side)


def open_source(session: Session, reference: str | ImageRef, side: str = "") -> ImageSource:
    """Open a reference for reading; `side` says which of a command's ends it is, as in registries.py."""
    from oci.transports import names

    parsed = parse(reference) if isinstance(reference, str) else reference
    if isinstance(parsed, RegistryRef):
        from oci.cli.registries import opener

        return opener(session, parsed.registry, side).source(parsed)
    if isinstance(parsed, StoreRef):
        from oci.cli.storing import open_stored

        return open_stored(session, parsed)
    return names.open_source(parsed, warn=session.warn)


def open_primary(session: Session, reference: str | ImageRef) -> ImageSource:
    """Open a reference for reading as `open_source` does; one to a registry at the registry itself, not at a mirror."""
    parsed = parse(reference) if isinstance(reference, str) else reference
    if not isinstance(parsed, RegistryRef):
        return open_source(session, parsed)
    from oci.cli.registries import opener

    return opener(session, parsed.registry).primary(parsed)


@contextmanager
def open_for_writing(session: Session, reference: ImageRef, side: str = "") -> Iterator[ImageDestination]:
    """Open a destination; a layout that was made for it goes again when the command fails."""
    from oci.transports.names import open_destination

    if isinstance(reference, RegistryRef):
        from oci.cli.registries import opener

        with opener(session, reference.registry, side).destination(reference) as registry:
            yield registry
        return
    if isinstance(reference, StoreRef):
        from oci.cli.storing import open_for_storing

        with open_for_storing(session, reference) as stored:
            yield stored
        return
    with blamed_on(reference.path), ExitStack() as stack:
        if isinstance(reference, LayoutRef):
            stack.enter_context(new_layout_goes_on_failure(reference.path))
        yield stack.enter_context(open_destination(reference))


@contextmanager
def new_layout_goes_on_failure(path: str) -> Iterator[None]:
    """Leave the destination as it was: a layout directory that was not there before, and holds nothing, is removed."""
    existed = os.path.lexists(path)
    try:
        yield
    except BaseException:
        if not existed:
            with suppress(OSError, OciError):
                _remove_empty_layout(path)
        raise


def _remove_empty_layout(path: str) -> None:
    """Remove a layout without images; never recursively, and not while another process writes to it."""
    from oci.layout.collect import gc

    if os.path.lexists(f"{path}/oci-layout"):  # else the disk was full before the layout was one
        layout = open_layout(path)
        if layout.index().model.manifests:
            return
        gc(layout)  # raises while another process is writing
    for folder, folders, _files in os.walk(f"{path}/blobs", topdown=False):
        for name in folders:
            os.rmdir(os.path.join(folder, name))
    for remove, name in ((os.rmdir, "blobs"), (os.unlink, "oci-layout"), (os.unlink, "index.json")):
        with suppress(FileNotFoundError):
            remove(f"{path}/{name}")
    os.rmdir(path)


def say_written(text: str, reference: ImageRef, written: Descriptor, *, json: bool) -> None:
    """Print what was made: a reference by digest, which a script can go on with; or the image as JSON."""
    if json:
        output.document(
            {
                "reference": text,
                "digest": str(written.digest),
                "mediaType": written.media_type,
                "size": written.size,
            }
        )
    elif isinstance(reference, StoreRef):
        print(output.printable(f"{_familiar_repository(reference)}@{written.digest}"))
    elif isinstance(reference, DockerArchiveRef):
        print(output.printable(str(reference)))
    else:
        print(output.printable(str(reference.replace(tag=None, digest=written.digest))))


def _familiar_repository(reference: StoreRef) -> str:
    whole = reference.normalized
    return "" if whole is None else whole.replace(tag=None, digest=None).familiar
