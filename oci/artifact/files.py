"""What a person wants pushed: files as `FILE[:TYPE]`, and what is said of them and of the whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from oci.artifact.names import title_path
from oci.errors import InvalidInput, SourceError, UnsafeEntry, read_from, show
from oci.spec import media_types
from oci.spec.annotations import TITLE
from oci.spec.record import Record, field
from oci.spec.wire import Fields, loads

__all__ = ["Annotations", "Draft", "File", "read_annotations"]

MAX_ANNOTATION_FILE = 4 << 20  # bytes: what it says has to fit into a manifest, which has this limit

_MANIFEST, _CONFIG = "$manifest", "$config"  # oras' names for what is no file


class File(Record):
    """A file or directory on this machine, the media type it gets (None: the default one), and its title."""

    path: str
    media_type: str | None = None
    title: str = ""

    @classmethod
    def parse(cls, text: str) -> File:
        """Read `FILE[:TYPE]`; a colon belongs to the name if a file of the whole name is there. InvalidInput.

        The title is the path as it was written; of an absolute one, or one with "..", only the last name.
        """
        path, media_type = split_type(text)
        return cls(path=path, media_type=media_type, title=title_of(path))


def split_type(text: str) -> tuple[str, str | None]:
    """Split `FILE[:TYPE]`. `FILE:` (a colon and nothing behind it) is FILE with the default type, as in oras."""
    path, colon, kind = text.rpartition(":")
    if not colon or os.path.lexists(text):
        path, kind = text, ""
    if not path:
        raise InvalidInput(f"{show(text)!r} is not FILE[:TYPE]")
    if "\0" in path:
        raise InvalidInput(f"{show(path)!r} is no name of a file")
    if kind and not media_types.is_media_type(kind):
        hint = f"there is no file {show(text)}, and " if "/" not in kind else ""
        raise InvalidInput(f"{hint}{show(kind)!r} is not a media type (type/subtype, RFC 6838 section 4.2)")
    return path, kind or None


def title_of(path: str) -> str:
    """Give the title of a path: as written if that stays in the directory it is pulled to, else its last name."""
    clean = os.path.normpath(path)
    if clean == ".." or clean.endswith("/.."):  # its last name is no name: ask the system which directory it is
        clean = os.path.realpath(path)
    if clean.startswith(("/", "../")):
        clean = os.path.basename(clean)
    if not clean:
        raise InvalidInput(f"{show(path)!r} has no name that could be its title")
    return clean


class Annotations(Record):
    """Annotations for the manifest, for its config descriptor, and for files by the path that names them."""

    manifest: Mapping[str, str] = field(default_factory=dict, hash=False)
    config: Mapping[str, str] = field(default_factory=dict, hash=False)
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict, hash=False)

    def apply(self, file: File) -> tuple[File, Mapping[str, str]]:
        """Give a file with the title that an annotation gives it, and its other annotations. InvalidInput."""
        own = dict(self.files.get(file.path, {}))
        title = own.pop(TITLE, file.title)
        try:
            title_path(title)
        except UnsafeEntry as error:
            raise InvalidInput(f"{show(file.path)}: {error}; nobody could pull it") from None
        return file.replace(title=title), own

    def unused(self, files: Iterable[File]) -> list[str]:
        """Name the files that are annotated but not pushed: probably typing errors."""
        return sorted(set(self.files) - {file.path for file in files})


class Draft(Record):
    """An artifact as it is wanted; `created` is RFC 3339 text.

    `artifact_type` may be left out beside a `config`, whose media type then says it; beside neither it is "unknown".
    """

    files: tuple[File, ...] = ()
    artifact_type: str | None = None
    config: File | None = None
    annotations: Annotations = Annotations()
    created: str | None = None


def read_annotations(path: str) -> Annotations:
    """Read oras' annotation file: `{"$manifest": {…}, "$config": {…}, "FILE": {…}}`. SourceError, InvalidDocument."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_ANNOTATION_FILE + 1)
    except OSError as error:
        raise SourceError(path, f"can't be read: {error.strerror}") from error
    with read_from(show(path)):
        fields = Fields(loads(raw, document="annotations", limit=MAX_ANNOTATION_FILE), document="annotations")
        manifest = fields.optional_string_map(_MANIFEST) or {}
        config = fields.optional_string_map(_CONFIG) or {}
        files = {name: fields.optional_string_map(name) or {} for name in tuple(fields.extra())}
    return Annotations(manifest=manifest, config=config, files=files)
