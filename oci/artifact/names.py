"""What artifacts are called by: annotations and media types, as oras has them, and what a title may be.

image-spec v1.1.1 manifest.md#guidelines-for-artifact-usage says which types an artifact has; annotations.md says that
a layer's title is for people. oras takes it for a path to write to, and so it is the most hostile word in an artifact:
`title_path` says which ones are paths below a directory, and everything else is refused, whatever it may have meant.
"""

from __future__ import annotations

from oci.errors import UnsafeEntry

__all__ = [
    "CONTENT_DIGEST",
    "CONTENT_UNPACK",
    "FILE_TYPE",
    "FOLDER_TYPE",
    "UNKNOWN_ARTIFACT",
    "UNKNOWN_CONFIG",
    "title_path",
]

# oras marks a directory by these: `unpack` is "true", `digest` is that of the uncompressed tar.
CONTENT_UNPACK = "io.deis.oras.content.unpack"
CONTENT_DIGEST = "io.deis.oras.content.digest"

# What oras writes where nobody says a type.
UNKNOWN_ARTIFACT = "application/vnd.unknown.artifact.v1"
UNKNOWN_CONFIG = "application/vnd.unknown.config.v1+json"

# oras calls any file a layer (`…image.layer.v1.tar`), which tools that read layers then fail on: this one is true.
FILE_TYPE = "application/octet-stream"
FOLDER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"

MAX_NAME = 255  # bytes of one name: what Linux's file systems take
MAX_TITLE = 4000  # bytes of a path: one system call takes 4096, the name of a temporary file among them
MAX_LEVELS = 100  # folders of one title; each costs an open and a mkdir

RESERVED = ".pull.ocikit-"  # how our scratch directories begin: `pull` removes what dead ones left


def title_path(title: str) -> tuple[str, ...]:
    """Give a title as the names of a path below a directory; `()` is the directory itself ("."). UnsafeEntry.

    Refused: absolute paths, "..", NUL and other control characters, and what no file system takes. "." and doubled
    slashes mean nothing in a path, and are left out.
    """
    shown = title.encode("utf-8", "surrogatepass")
    if not title:
        raise UnsafeEntry(shown, "an empty title names no file")
    if title.startswith("/"):
        raise UnsafeEntry(shown, "an absolute title would leave the directory")
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in title):
        raise UnsafeEntry(shown, "a title with control characters")
    if any("\ud800" <= character <= "\udfff" for character in title):
        raise UnsafeEntry(shown, "a title that is not UTF-8")
    if len(shown) > MAX_TITLE:
        raise UnsafeEntry(shown, f"a title of {len(shown)} bytes; at most {MAX_TITLE} are taken")
    names = tuple(name for name in title.split("/") if name not in ("", "."))
    if ".." in names:
        raise UnsafeEntry(shown, "'..' in a title would leave the directory")
    if len(names) > MAX_LEVELS:
        raise UnsafeEntry(shown, f"a title with {len(names)} levels; at most {MAX_LEVELS} are taken")
    if any(len(name.encode()) > MAX_NAME for name in names):
        raise UnsafeEntry(shown, f"a name of more than {MAX_NAME} bytes in a title")
    if names and names[0].startswith(RESERVED):
        raise UnsafeEntry(shown, f"titles beginning with {RESERVED!r} are reserved for temporary files")
    return names
