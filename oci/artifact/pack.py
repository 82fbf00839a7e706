"""Files → the blobs and the manifest of an artifact, at any destination.

image-spec v1.1.1 manifest.md#guidelines-for-artifact-usage: the artifact's type is `artifactType`; where there is no
config it is the empty descriptor, and where there are no layers one empty layer. Nothing says when or where it was
made unless a time is given, and annotations are sorted, so that the same files give the same digest.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

from oci.artifact.files import Draft, File
from oci.artifact.folder import pack_folder
from oci.artifact.names import (
    CONTENT_DIGEST,
    CONTENT_UNPACK,
    FILE_TYPE,
    FOLDER_TYPE,
    UNKNOWN_ARTIFACT,
    UNKNOWN_CONFIG,
    title_path,
)
from oci.errors import InvalidInput, SourceError, show
from oci.layout.blobs import Content
from oci.spec import media_types, rfc3339
from oci.spec.annotations import CREATED, TITLE
from oci.spec.descriptor import EMPTY_DESCRIPTOR, EMPTY_JSON, Descriptor
from oci.spec.digest import Digest
from oci.spec.document import Document
from oci.spec.manifest import Manifest
from oci.streams.chunks import read_chunks
from oci.streams.progress import Meter, Progress, Share
from oci.streams.together import Stop, together
from oci.transports.base import ImageDestination, Warn

__all__ = ["pack", "push"]

_FILE_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def push(
    destination: ImageDestination, draft: Draft, *, progress: Progress | None = None, warn: Warn | None = None
) -> Descriptor:
    """Push files as an artifact, and make it what the destination's reference names. See `pack`."""
    manifest = pack(destination, draft, progress=progress, warn=warn)
    destination.commit(manifest.raw, manifest.descriptor)
    return manifest.descriptor


def pack(
    destination: ImageDestination,
    draft: Draft,
    *,
    subject: Descriptor | None = None,
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Document[Manifest]:
    """Bring the blobs of an artifact to a destination; give its manifest, which is still to be stored.

    Raises InvalidInput, SourceError, and what writing to the destination raises.
    """
    config, notes = draft.config, draft.annotations
    named = [notes.apply(file) for file in draft.files]
    _check_titles([file for file, _ in named])
    artifact_type = _type_of(draft)
    sources = [_Source.look(file, extra) for file, extra in named]
    packer = _Packer(destination, Meter(progress, sum(source.size for source in sources)), draft.created, warn)
    layers = tuple(packer.add(source) for source in sources)
    described = EMPTY_DESCRIPTOR if config is None else packer.file(config.path, _config_type(config))
    if config is None or not layers:
        packer.given(EMPTY_DESCRIPTOR, EMPTY_JSON)
    packer.finish()
    own = dict(notes.manifest)
    if draft.created is not None:
        own.setdefault(CREATED, draft.created)
    model = Manifest(
        config=described.replace(annotations=_sorted(notes.config)),
        layers=layers or (EMPTY_DESCRIPTOR,),
        artifact_type=artifact_type,
        subject=subject,
        annotations=_sorted(own),
    )
    return Document.of(model)


def _type_of(draft: Draft) -> str | None:
    """The artifact's own type; None where its config's says it."""
    kind = draft.artifact_type
    if kind is None:
        if draft.config is None:
            return UNKNOWN_ARTIFACT
        if _config_type(draft.config) == media_types.EMPTY:
            raise InvalidInput("a config of the empty media type says nothing of the artifact; give its type")
    elif not media_types.is_media_type(kind):
        raise InvalidInput(f"{show(kind)!r} is not a media type (type/subtype, RFC 6838 section 4.2)")
    return kind


def _config_type(config: File) -> str:
    return config.media_type or UNKNOWN_CONFIG


def _sorted(annotations: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(annotations.items()))


def _check_titles(files: Sequence[File]) -> None:
    """Refuse titles that could not all be pulled to one directory: plan.py has the same rule for the other end."""
    seen: dict[tuple[str, ...], str] = {}
    for file in files:
        path = title_path(file.title)
        if path in seen:
            raise InvalidInput(
                f"{show(seen[path])} and {show(file.path)} would both have the title {show(file.title)!r}; "
                "an annotation file can give them others"
            )
        seen[path] = file.path
    for path, name in seen.items():
        for length in range(len(path)):
            if path[:length] in seen:
                raise InvalidInput(
                    f"{show(name)} would lie in {show(seen[path[:length]])}, and nobody could pull both; push one"
                )


class _Source:
    """A file or directory that was looked at before anything is written."""

    def __init__(self, file: File, annotations: Mapping[str, str], size: int, folder: bool) -> None:
        self.file, self.annotations, self.size, self.folder = file, annotations, size, folder

    @classmethod
    def look(cls, file: File, annotations: Mapping[str, str]) -> _Source:
        try:
            status = os.stat(file.path)
        except FileNotFoundError:
            raise SourceError(file.path, "no such file or directory") from None
        except OSError as error:
            raise SourceError(file.path, f"can't be read: {error.strerror}") from error
        folder = stat.S_ISDIR(status.st_mode)
        if not folder and not stat.S_ISREG(status.st_mode):
            raise SourceError(file.path, "is neither a file nor a directory")
        if file.title == "." and not folder:
            raise InvalidInput(f"{show(file.path)}: a file can't have the title '.'")
        return cls(file, annotations, 0 if folder else status.st_size, folder)


class _Packer:
    """Brings blobs to the destination: directories one by one as they are read, then all files."""

    def __init__(self, destination: ImageDestination, meter: Meter, created: str | None, warn: Warn | None) -> None:
        self._destination, self._meter, self._warn = destination, meter, warn
        self._mtime_ns = 0 if created is None else rfc3339.parse(created)
        self._waiting: dict[Digest, tuple[Descriptor, Content, Share]] = {}
        self._stop = Stop()

    def add(self, source: _Source) -> Descriptor:
        """Give the descriptor of a file or directory as a layer, annotated; a directory is stored by that."""
        file = source.file
        if source.folder:
            described, own = self._folder(file)
        else:
            described, own = self.file(file.path, file.media_type or FILE_TYPE), {}
        return described.replace(annotations=_sorted({TITLE: file.title, **own, **source.annotations}))

    def _folder(self, file: File) -> tuple[Descriptor, dict[str, str]]:
        def warn(path: bytes, why: str) -> None:
            if self._warn is not None:
                self._warn(f"{show(os.path.join(os.fsencode(file.path), path))}: {why}")

        with self._meter.share(show(file.path)) as share, self._destination.writer() as blob:
            share.begin()
            summary = pack_folder(file.path, file.title, blob, mtime_ns=self._mtime_ns, warn=warn)
        described = Descriptor(media_type=file.media_type or FOLDER_TYPE, digest=summary.digest, size=summary.size)
        return described, {CONTENT_DIGEST: str(summary.diff_id), CONTENT_UNPACK: "true"}

    def file(self, path: str, media_type: str) -> Descriptor:
        """Describe a file, which takes reading it; `finish` reads it again, and stores it."""
        with _opened(path) as chunks:
            hasher, size = Digest.of(b"").hasher(), 0
            for chunk in chunks:
                hasher.update(chunk)
                size += len(chunk)
        described = Descriptor(media_type=media_type, digest=Digest("sha256", hasher.hexdigest()), size=size)
        share = self._meter.share(show(path), size)
        self._waiting.setdefault(described.digest, (described, lambda: self._counted(path, share), share))
        return described

    def given(self, described: Descriptor, data: bytes) -> None:
        """Have bytes stored by `finish`."""
        share = self._meter.share(f"blob {described.digest}", described.size)
        self._waiting.setdefault(described.digest, (described, lambda: nullcontext(iter((data,))), share))

    def finish(self) -> None:
        """Store what was described, several blobs at once where the destination gains by that."""
        waiting = list(self._waiting.values())
        self._meter.expect(sum(described.size for described, _, _ in waiting))  # equal files are one, and the config
        together(
            self._store,
            waiting,
            workers=self._destination.parallel,
            stop=self._stop,
            abort=self._destination.abort,
        )

    def _store(self, waiting: tuple[Descriptor, Content, Share]) -> None:
        described, content, share = waiting
        self._stop.check()
        with share:
            if not self._destination.has(described):
                self._destination.put_blob(described, content)
            share.complete(described.size)

    @contextmanager
    def _counted(self, path: str, share: Share) -> Iterator[Iterator[bytes]]:
        with _opened(path) as chunks, self._stop.watching(chunks) as watched:
            yield share.counted(watched)


@contextmanager
def _opened(path: str) -> Iterator[Iterator[bytes]]:
    try:
        fd = os.open(path, _FILE_FLAGS)
    except OSError as error:
        raise SourceError(path, f"can't be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise SourceError(path, "was replaced while it was read")
        yield read_chunks(fd)
    finally:
        os.close(fd)
