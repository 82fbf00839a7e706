"""Many repositories in one plain image layout (docs/serve.md, docs/adr/0007).

`index.json` is the whole truth about manifests: its entries are the tags and roots of all repositories (`naming`). A
manifest belongs to a repository when one of its entries leads to it; a blob does when one of its manifests names it,
or when it was pushed or mounted there. The latter is an empty file in `.ocikit-serve/blobs/REPOSITORY/`, a folder that
no tool takes for a part of the layout. So nothing can be read through a repository that wasn't given to it.

A manifest stays until it is deleted, as in other registries: one that loses its tag, or whose index is deleted, gets
an entry of its own; one that an index leads to needs none. Blobs stay on disk until `ocikit gc`.

Every change is made in `Layout.edit_index`: under the layout's lock, checked against what is there at that moment, and
on disk when it returns. Between changes, an unchanged index.json (by inode, times and size) is not read again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from oci.errors import InvalidDigest, LayoutError, LimitExceeded
from oci.layout.directory import flocked
from oci.layout.layout import Layout
from oci.layout.reader import INDEX_FILE
from oci.layout.rules import SERVE_FOLDER
from oci.layout.walk import is_document
from oci.serving.contents import Library
from oci.serving.exchange import Refusal
from oci.serving.naming import REPOSITORY, place_of, tagged_entry, untagged_entry
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.index import Index
from oci.streams.atomic import fsync_dir

__all__ = ["MAX_REACHED", "Store", "View"]

MAX_REACHED = 1_000_000  # descriptors of one repository; each takes time with every push to it


class View:
    """One repository at one moment: its tags, its documents (nested ones too), and the blobs that those name."""

    def __init__(self, repository: str) -> None:
        self.repository = repository
        self.exists = False
        self.tags: dict[str, Descriptor] = {}
        self.documents: dict[Digest, Descriptor] = {}
        self.blobs: set[Digest] = set()


class Store:
    """The repositories of a layout; may be used by several threads at once."""

    def __init__(self, layout: Layout, *, own: str) -> None:
        self.layout, self.own = layout, own
        self.folder = f"{layout}/{SERVE_FOLDER}"
        self.library = Library(layout.blobs)
        self._lock = threading.RLock()
        self._stamp: tuple[int, ...] = ()
        self._index = Index(manifests=())
        self._views: dict[str, View] = {}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one server that writes to the layout; LayoutError when another one is.

        For as long, `gc` of other processes is kept out: a blob that was pushed has no name until its manifest comes.
        """
        os.makedirs(self.folder, exist_ok=True)
        for folder in (self.folder, *(f"{self.folder}/{name}" for name in ("blobs", "uploads"))):
            for path in (folder, *_folders(folder)):
                _check_own(path)
        with self._alone(), self.layout.blobs.hold():
            self._sweep()
            yield

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = flocked(self.folder, wait=False)
        try:
            lock.__enter__()
        except BlockingIOError:
            raise LayoutError(
                str(self.layout), "another ocikit serve writes to it; stop that one, or serve with --read-only"
            ) from None
        try:
            yield
        finally:
            lock.__exit__(None, None, None)

    # Reading

    def view(self, repository: str) -> View:
        """Give a repository as it is now; one that nobody has pushed to is empty."""
        with self._lock:
            index = self._current()
            view = self._views.get(repository)
            if view is None:
                view = self._seen(index, repository)
                if view.exists:  # names of others cost a client nothing
                    self._views[repository] = view
        return view

    def repositories(self) -> list[str]:
        """Give the names of all repositories that hold a manifest, sorted."""
        with self._lock:
            return sorted({place_of(entry, self.own)[0] for entry in self._current().manifests})

    def _current(self) -> Index:
        # Always read before it is stamped: a change in between is then seen at the next look.
        status = os.stat(f"{self.layout}/{INDEX_FILE}")
        stamp = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
        if stamp != self._stamp:
            self._index = self.layout.index().model
            self._stamp = stamp
            self._views = {}
        return self._index

    def _seen(self, index: Index, repository: str) -> View:
        view = View(repository)
        entries = []
        for entry in index.manifests:
            name, tag = place_of(entry, self.own)
            if name == repository:
                entries.append(entry)
                if tag is not None:
                    view.tags.setdefault(tag, entry)
        view.exists = bool(entries)
        self._reach(entries, view.documents, view.blobs)
        return view

    def _reach(self, entries: Iterable[Descriptor], documents: dict[Digest, Descriptor], blobs: set[Digest]) -> None:
        """Add everything that these lead to."""
        pending = list(entries)
        while pending:
            descriptor = pending.pop()
            if not is_document(descriptor):
                blobs.add(descriptor.digest)
            elif descriptor.digest not in documents:
                contents = self.library.find(descriptor)
                if contents is not None:
                    documents[descriptor.digest] = descriptor
                    pending += contents.children
            if len(documents) + len(blobs) > MAX_REACHED:
                raise LimitExceeded("manifests and blobs of one repository", MAX_REACHED)

    def blob_size(self, repository: str, digest: Digest) -> int | None:
        """Give the size of a blob of this repository; None where it has none of that digest."""
        size = self.layout.blobs.size(digest)
        if size is None or os.path.lexists(self._link(repository, digest)):
            return size
        view = self.view(repository)
        return size if digest in view.blobs or digest in view.documents else None

    # Blobs

    def _link(self, repository: str, digest: Digest) -> str:
        # "+" is in no repository's name, so two names never meet; a name is at most 255 bytes long, as a file's.
        return f"{self.folder}/blobs/{repository.replace('/', '+')}/{digest.algorithm}-{digest.encoded}"

    def link_blob(self, repository: str, digest: Digest) -> None:
        """Make a stored blob one of this repository's, durably."""
        path = self._link(repository, digest)
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):
            os.makedirs(folder, exist_ok=True)
            fsync_dir(os.path.dirname(folder))
            fsync_dir(self.folder)
            fsync_dir(str(self.layout))
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644))
        fsync_dir(folder)

    def delete_blob(self, repository: str, digest: Digest) -> None:
        """Take a blob from this repository; its bytes stay until gc. Refusal when a manifest here names it."""
        with self.layout.edit_index() as edit:  # nothing is changed: for the lock, so that no manifest comes between
            if self.blob_size(repository, digest) is None:
                raise Refusal(404, "BLOB_UNKNOWN", f"no blob {digest} in {repository}")
            view = self._seen(edit.index, repository)
            if digest in view.blobs or digest in view.documents:
                raise Refusal(405, "UNSUPPORTED", f"{digest} is used by a manifest in {repository}; delete that first")
            with suppress(FileNotFoundError):
                os.unlink(self._link(repository, digest))

    def _sweep(self) -> None:
        """Remove the notes about blobs that gc has removed."""
        for folder in _folders(f"{self.folder}/blobs"):
            with os.scandir(folder) as notes:
                stale = [note.path for note in notes if self._is_stale(note)]
            for path in stale:
                os.unlink(path)

    def _is_stale(self, note: os.DirEntry[str]) -> bool:
        algorithm, _, encoded = note.name.partition("-")
        try:
            digest = Digest.parse(f"{algorithm}:{encoded}")
        except InvalidDigest:
            return False  # nothing of ours
        return note.is_file(follow_symlinks=False) and self.layout.blobs.size(digest) is None

    # Manifests

    def put_manifest(self, repository: str, document: Descriptor, tags: Sequence[str]) -> None:
        """Make a stored document a manifest of this repository, under these tags.

        Refusal when it names what this repository doesn't have.
        """
        with self.layout.edit_index() as edit:
            view = self._seen(edit.index, repository)
            self._check_children(view, document)
            self._check_room(view, document)
            held = {**view.documents, document.digest: document}
            after = {**view.tags, **dict.fromkeys(tags, document)}
            edit.index = self._arranged(edit.index, repository, after, held, touched=set(tags))

    def delete_tag(self, repository: str, tag: str) -> None:
        """Take a tag away; its manifest stays. Refusal when there is none."""
        with self.layout.edit_index() as edit:
            view = self._seen(edit.index, repository)
            if tag not in view.tags:
                raise Refusal(404, "MANIFEST_UNKNOWN", f"no tag {tag} in {repository}")
            after = {name: entry for name, entry in view.tags.items() if name != tag}
            edit.index = self._arranged(edit.index, repository, after, view.documents, touched={tag})

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        """Take a manifest and all its tags away; what only it led to stays, when it is a manifest itself."""
        with self.layout.edit_index() as edit:
            view = self._seen(edit.index, repository)
            if digest not in view.documents:
                raise Refusal(404, "MANIFEST_UNKNOWN", f"no manifest {digest} in {repository}")
            parent = self._parent(view, digest)
            if parent is not None:
                raise Refusal(
                    405, "UNSUPPORTED", f"{digest} is a part of the index {parent} in {repository}; delete that first"
                )
            after = {name: entry for name, entry in view.tags.items() if entry.digest != digest}
            held = {name: entry for name, entry in view.documents.items() if name != digest}
            edit.index = self._arranged(
                edit.index, repository, after, held, touched=view.tags.keys() - after.keys(), deleted=digest
            )

    def _parent(self, view: View, digest: Digest) -> Digest | None:
        for document in view.documents.values():
            contents = self.library.find(document)
            if contents is not None and any(child.digest == digest for child in contents.children):
                return document.digest
        return None

    def _check_children(self, view: View, document: Descriptor) -> None:
        contents = self.library.find(document)
        for child in () if contents is None else contents.children:
            # layer.md#non-distributable-layers: such a layer need not be there; what `data` embeds is.
            if media_types.is_nondistributable(child.media_type) or child.urls or child.data is not None:
                continue
            if is_document(child):
                known = child.digest in view.documents and self.layout.blobs.size(child.digest) is not None
            else:
                known = child.digest in view.blobs or os.path.lexists(self._link(view.repository, child.digest))
            size = self.layout.blobs.size(child.digest) if known else None
            if size is None:
                kind = "manifest" if is_document(child) else "blob"
                raise Refusal(
                    400,
                    "MANIFEST_BLOB_UNKNOWN",
                    f"the {kind} {child.digest} was not pushed to {view.repository}; push it first",
                )
            if size != child.size:
                raise Refusal(
                    400,
                    "MANIFEST_INVALID",
                    f"the descriptor of {child.digest} says {child.size} bytes, but it has {size}",
                )

    def _check_room(self, view: View, document: Descriptor) -> None:
        """LimitExceeded before a repository gets so large that nothing in it could be deleted any more."""
        contents = self.library.find(document)
        more = 1 + (len(contents.children) if contents is not None else 0)
        if document.digest not in view.documents and len(view.documents) + len(view.blobs) + more > MAX_REACHED:
            raise LimitExceeded("manifests and blobs of one repository", MAX_REACHED)

    def _arranged(
        self,
        index: Index,
        repository: str,
        tags: Mapping[str, Descriptor],
        held: Mapping[Digest, Descriptor],
        *,
        touched: Iterable[str],
        deleted: Digest | None = None,
    ) -> Index:
        """Give index.json with one repository's entries as they must be for these tags and manifests.

        Entries of other repositories, of tags that aren't touched, and of what can't be read stay as they are.
        """
        roots = self._roots(tags.values(), held)
        changing, written, listed = set(touched), set[str](), set[Digest]()
        entries = []
        for entry in index.manifests:
            name, tag = place_of(entry, self.own)
            if name != repository or (tag is not None and tag not in changing):
                entries.append(entry)
            elif tag is not None:
                if tag in tags and tag not in written:  # a tag that was there twice is now there once
                    written.add(tag)
                    same = (entry.digest, entry.media_type) == (tags[tag].digest, tags[tag].media_type)
                    entries.append(entry if same else tagged_entry(_bare(tags[tag]), repository, tag, self.own))
            elif entry.digest in roots:
                listed.add(entry.digest)
                entries.append(entry)
            elif entry.digest != deleted and REPOSITORY not in entry.annotations:
                entries.append(entry)  # another tool's
        entries += [
            tagged_entry(_bare(tags[tag]), repository, tag, self.own)
            for tag in changing
            if tag in tags.keys() - written
        ]
        entries += [untagged_entry(_bare(held[digest]), repository) for digest in roots if digest not in listed]
        return index.replace(manifests=tuple(entries))

    def _roots(self, tagged: Iterable[Descriptor], held: Mapping[Digest, Descriptor]) -> list[Digest]:
        """Give the manifests that need an entry without a tag: nothing else leads to them."""
        covered: dict[Digest, Descriptor] = {}
        self._reach(tagged, covered, set())
        rest = [document for digest, document in held.items() if digest not in covered]
        below = set()
        for document in rest:
            contents = self.library.find(document)
            below |= {child.digest for child in contents.children} if contents is not None else set()
        return [document.digest for document in rest if document.digest not in below]


def _folders(path: str) -> list[str]:
    """What is in a folder of ours that may not be there yet."""
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries]
    except FileNotFoundError:
        return []


def _check_own(path: str) -> None:
    """Refuse a folder that a layout from elsewhere made a link: we write and delete there."""
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
        raise LayoutError(path, "is not a directory; remove it, ocikit serve makes it itself")


def _bare(descriptor: Descriptor) -> Descriptor:
    """Only what a descriptor of a manifest has to say in index.json."""
    return Descriptor(
        media_type=descriptor.media_type,
        digest=descriptor.digest,
        size=descriptor.size,
        artifact_type=descriptor.artifact_type,
        platform=descriptor.platform,
    )
