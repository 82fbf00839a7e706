"""Check an image, or a whole layout, and list every fault: `verify` of the command line.

Two passes. First the layout's files and all documents, one after the other (`documents`): they say what blobs
there must be and what is claimed of them. Then the blobs, the biggest first, a few at a time, each read once and never
kept (`blob`). Nothing stops at the first fault: what can still be checked is checked.

What is wrong with an image never raises: it is a finding. Raised are only errors of asking (no such tag, no image for
the platform) and of the program.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from oci.errors import LayoutError, NotFound, OciError, RefNotFound, show
from oci.layout.blobs import WatchedBlobs
from oci.layout.directory import DirectoryBlobs
from oci.layout.finding import Finding, limited
from oci.layout.refs import resolve
from oci.layout.rules import ArchiveFiles, DirectoryFiles, FileKind, LayoutFiles, check_files, check_marker
from oci.spec import media_types
from oci.spec.annotations import REF_NAME, is_ref_name
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.document import parse_index
from oci.spec.layout_header import MAX_HEADER
from oci.spec.platform import Platform
from oci.spec.wire import MAX_MANIFEST
from oci.streams.progress import Progress
from oci.verification.blob import BlobFacts, check_blob, unreadable
from oci.verification.documents import BlobJob, DocumentCheck, altered, entries, pick
from oci.verification.lenient import Target, load_json, read_digest
from oci.verification.report import Report

if TYPE_CHECKING:
    from oci.layout.blobs import BlobReader

__all__ = ["verify", "verify_image"]


def verify(
    source: str | os.PathLike[str],
    *,
    subject: str | None = None,
    tag: str | None = None,
    digest: Digest | None = None,
    platform: Platform | None = None,
    fast: bool = False,
    jobs: int = 2,
    progress: Progress | None = None,
) -> Report:
    """Check an image layout directory, or an archive of one, or with `tag` or `digest` one image in it.

    `platform` follows only the fitting image of each index (None: all of them). `fast` leaves out decompression, so
    diff_ids and tar entries. `jobs` is how many blobs are read at once; `progress` is told of their bytes. `subject` is
    what the report calls it. Raises RefNotFound and NoMatchingPlatform for what isn't there to be checked.
    """
    path = os.fspath(source)
    name = subject if subject is not None else path
    with ExitStack() as opened:
        files: LayoutFiles
        blobs: BlobReader
        if os.path.isdir(path):
            files, blobs = DirectoryFiles(path), DirectoryBlobs(path)
        else:
            from oci.layout.archive import ArchiveBlobs
            from oci.layout.tar_files import TarFiles

            try:
                tar = opened.enter_context(TarFiles(path))
            except LayoutError as error:
                if not os.path.isfile(path):
                    raise
                return Report(subject=show(name), findings=(Finding.error("layout-file", path, error.reason),))
            files, blobs = ArchiveFiles(tar), ArchiveBlobs(tar)
        check = _Check(blobs, subject=name, platform=platform, fast=fast, jobs=jobs, progress=progress)
        return check.layout(files, path, tag, digest)


def verify_image(
    blobs: BlobReader,
    descriptor: Descriptor,
    *,
    subject: str,
    platform: Platform | None = None,
    fast: bool = False,
    jobs: int = 2,
    progress: Progress | None = None,
) -> Report:
    """Check one image (manifest or index) in any store of blobs, and what it names. Words as in `verify`."""
    check = _Check(blobs, subject=subject, platform=platform, fast=fast, jobs=jobs, progress=progress)
    return check.image(descriptor)


class _Check:
    """One run: what is checked how, and what was found so far."""

    def __init__(
        self,
        blobs: BlobReader,
        *,
        subject: str,
        platform: Platform | None,
        fast: bool,
        jobs: int,
        progress: Progress | None,
    ) -> None:
        self._blobs, self._subject, self._platform = blobs, subject, platform
        self._fast, self._jobs, self._progress = fast, jobs, progress
        self._documents = DocumentCheck(blobs, platform=platform)

    def image(self, descriptor: Descriptor) -> Report:
        target = Target(
            where=self._subject, media_type=descriptor.media_type, digest=descriptor.digest, size=descriptor.size
        )
        self._documents.entry(target)
        return self._finish()

    def layout(self, files: LayoutFiles, where: str, tag: str | None, digest: Digest | None) -> Report:
        """Check a layout whose files are reached through these; `where` names it in errors."""
        check = self._documents
        whole = tag is None and digest is None
        kinds: dict[str, FileKind] = {}
        try:
            for path, kind in files.paths():
                kinds[path] = kind
        except OSError as error:
            check.add([Finding.error("unreadable", where, f"can't be listed: {error.strerror or error}")])
            if not kinds:
                return Report(subject=show(self._subject), findings=tuple(check.findings()))
        found = check_files(kinds)
        check.add(limited((one for one in found if whole or one.where in _REQUIRED), "blobs"))
        if kinds.get("oci-layout") == "file":
            marker = _file(files, "oci-layout", MAX_HEADER, check)
            check.add(_marker(marker) if marker is not None else ())
        raw = _file(files, "index.json", MAX_MANIFEST, check) if kinds.get("index.json") == "file" else None
        index = check.index_json(raw) if raw is not None else None
        if whole:
            targets = entries(index, "index.json") if index is not None else []
            check.add(limited(_tags(targets), "index.json"))
        elif raw is None:
            targets = []  # told of above: there is no index to look the name up in
        else:
            targets = _chosen(index, raw, self._blobs, where, tag, digest, self._platform)
        for target in targets:
            check.entry(target)
        return self._finish(_spare(kinds, self._blobs, check.reached) if whole else ())

    def _finish(self, spare: Iterable[BlobJob] = ()) -> Report:
        """Check the blobs, those that the documents name and those to `spare`."""
        check, blobs, spare = self._documents, self._blobs, list(spare)
        every = [*check.jobs.values(), *(job for job in spare if job.digest.supported)]
        if self._progress is not None:
            blobs = WatchedBlobs(blobs, self._progress, sum(job.size for job in every))
        for job, facts in _run(blobs, every, fast=self._fast, jobs=self._jobs):
            check.checked.bytes += facts.size
            job.findings += _judged(job, facts)
        check.checked.layers = sum(job.listed for job in check.jobs.values())
        unreferenced = limited((finding for job in spare for finding in job.findings), "blobs")
        return Report(subject=show(self._subject), findings=(*check.findings(), *unreferenced), checked=check.checked)


# The layout's own files

_REQUIRED = ("oci-layout", "index.json", "blobs")


def _file(files: LayoutFiles, name: str, limit: int, check: DocumentCheck) -> bytes | None:
    """One of the layout's own files; None where it can't be read, which is told of."""
    try:
        raw = files.read(name, limit)
    except (OSError, OciError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        check.add([Finding.error("unreadable", name, f"can't be read: {reason}; see to its permissions")])
        return None
    if len(raw) > limit:
        check.add([Finding.error("too-large", name, f"is larger than {limit} bytes, so it was not read")])
        return None
    return raw


def _marker(raw: bytes) -> Iterator[Finding]:
    loaded = load_json(raw)
    for code, message in loaded.faults:
        yield Finding.error(code, "oci-layout", f"{message}; have it written anew")
    if loaded.value is not None or not loaded.faults:
        yield from check_marker(loaded.value)


def _tags(targets: list[Target]) -> Iterator[Finding]:
    """Reference names: their grammar, and that each stands once (or once for each platform)."""
    seen: dict[str, list[Target]] = {}
    for target in targets:
        name = target.annotations.get(REF_NAME)
        if name is None:
            continue
        where = f"{target.where}/annotations/{REF_NAME}"
        if not is_ref_name(name):
            message = f"the name {show(name)!r} breaks the grammar of annotations.md; some tools can't use it"
            yield Finding.warning("bad-tag", where, message)
        others = seen.setdefault(name, [])
        if any(target.platform is None or target.platform == other.platform for other in others):
            message = f"the name {show(name)!r} stands at {others[0].where} too; tools differ on which one they take"
            yield Finding.warning("duplicate-tag", where, message)
        others.append(target)


def _chosen(
    index: dict[str, Any] | None,
    raw: bytes,
    blobs: BlobReader,
    where: str,
    tag: str | None,
    digest: Digest | None,
    platform: Platform | None,
) -> list[Target]:
    """The entry of index.json that a tag or a digest means; a digest may also name a document deeper down.

    A tag that stands at the images of several platforms means the fitting one, or without a platform all of them.
    """
    targets = entries(index, "index.json") if index is not None else []
    named = [one for one in targets if tag is not None and one.annotations.get(REF_NAME) == tag]
    if digest is None and len(named) > 1 and all(one.platform is not None for one in named):
        return named if platform is None else [pick(named, platform, f"{where}:{tag}")]
    try:
        # The rules for choosing are those of every other command, as long as index.json can be read by them.
        chosen = resolve(parse_index(raw).model, blobs, where=where, name=tag, digest=digest)
    except NotFound:
        raise
    except OciError:
        fitting = [one for one in targets if tag is None or one.annotations.get(REF_NAME) == tag]
        found = [one for one in fitting if digest is None or one.digest == digest][:1]
        if not found:
            tags = dict.fromkeys(name for one in targets if (name := one.annotations.get(REF_NAME)))
            raise RefNotFound(tag or str(digest), where, list(tags)) from None
        return found
    listed = [one for one in targets if one.digest == chosen.digest]
    named = [one for one in listed if tag is None or one.annotations.get(REF_NAME) == tag]
    if listed:
        return (named or listed)[:1]
    return [Target(where=str(chosen.digest), media_type=chosen.media_type, digest=chosen.digest, size=chosen.size)]


# Blobs


def _spare(kinds: Mapping[str, FileKind], blobs: BlobReader, reached: set[Digest]) -> Iterator[BlobJob]:
    """Jobs for the blobs that nothing refers to: their content must fit their name all the same."""
    for where, kind in kinds.items():
        parts = where.split("/")
        digest = read_digest(":".join(parts[1:])) if kind == "file" and len(parts) == 3 else None
        if digest is None or digest in reached:
            continue
        message = "nothing that ocikit understands in this layout refers to it; gc may remove it"
        job = BlobJob(digest=digest, where=where, size=0)
        job.findings.append(Finding.warning("unreferenced-blob", where, message))
        with suppress(OSError, OciError):  # told of when it is read
            job.size = blobs.size(digest) or 0
        yield job


def _run(blobs: BlobReader, jobs_: list[BlobJob], *, fast: bool, jobs: int) -> Iterator[tuple[BlobJob, BlobFacts]]:
    """Check blobs, `jobs` at a time, the biggest first: the last one to start must not be the longest."""
    stop = threading.Event()

    def one(job: BlobJob) -> BlobFacts:
        descriptor = Descriptor(media_type=next(iter(job.media_types), "") or "a/b", digest=job.digest, size=job.size)
        try:
            return check_blob(
                blobs,
                descriptor,
                layer=job.layer and not fast,
                algorithms={diff_id.algorithm for diff_id in job.diff_ids if diff_id.supported},
                cancelled=stop.is_set,
            )
        except (OSError, OciError) as error:
            return BlobFacts(findings=[unreadable(job.where, job.digest, error)])

    ordered = sorted(jobs_, key=lambda job: -job.size)
    if jobs <= 1 or len(ordered) <= 1:
        yield from ((job, one(job)) for job in ordered)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=min(jobs, len(ordered)), thread_name_prefix="verify") as pool:
        try:
            yield from zip(ordered, pool.map(one, ordered), strict=True)
        finally:
            # Interrupted, or a bug came up in one blob: the others must not go on for minutes.
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _judged(job: BlobJob, facts: BlobFacts) -> Iterator[Finding]:
    """What the bytes of a blob say about the claims made for it."""
    if facts.compression is None:  # it could not be read
        yield from facts.findings
        return
    also = f" (also used in {job.also} more {'place' if job.also == 1 else 'places'})" if job.also else ""
    if facts.encoded != job.digest.encoded:
        message = altered(job.digest, Digest(job.digest.algorithm, facts.encoded))
        yield Finding.error("digest-mismatch", job.where, f"{message}{also}")
    for media_type, where in job.media_types.items():
        claimed = media_types.layer_compression(media_type)
        if claimed is not None and claimed != facts.compression:
            message = (
                f"{media_type} means compression {claimed}, the bytes of {job.digest} are {_named(facts.compression)}"
            )
            yield Finding.error("media-type", where, message)
    yield from facts.findings
    for diff_id, where in job.diff_ids.items():
        if not diff_id.supported:
            message = f"the diff_id {diff_id} can't be checked: only sha256 and sha512 can be computed"
            yield Finding.error("unsupported-digest", where, message)
        elif facts.diff_ids and facts.diff_ids[diff_id.algorithm] != diff_id.encoded:
            actual = f"{diff_id.algorithm}:{facts.diff_ids[diff_id.algorithm]}"
            message = f"layer {job.digest} has the diff_id {actual}, the config says {diff_id}; build the image again"
            yield Finding.error("diff-id-mismatch", where, message)


def _named(compression: str) -> str:
    return "not compressed" if compression == "none" else compression
