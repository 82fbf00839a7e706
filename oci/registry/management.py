"""What is done to images that are in a registry: one more tag, a tag less, no image (distribution-spec v1.1.1).

spec.md#content-management: a tag can be deleted by itself, but few registries do that; deleting by digest takes the
manifest away with all its tags. A manifest that had a `subject` goes from the list of referrers too, where clients keep
that list (spec.md#deleting-manifests). Blobs stay; the registry collects them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from oci.errors import InvalidDocument, NotFound, RefNotFound, RegistryRefused
from oci.registry import referrers_tag
from oci.registry.put_manifest import put_manifest, understood
from oci.registry.referrers import has_api
from oci.spec.digest import Digest
from oci.spec.record import Record

if TYPE_CHECKING:
    from oci.registry.repository import Repository

__all__ = ["Deleted", "delete", "delete_tag", "in_parallel", "retag", "tags_of"]

JOBS = 8  # questions at once: each takes one way to the registry and back, and no more
AHEAD = 64  # questions that wait or are answered, and not yet given; a repository may have a million tags

_T = TypeVar("_T")
_R = TypeVar("_R")


class Deleted(Record):
    """What went: a tag alone (`digest` is what it stood for), or a manifest with all of its tags."""

    digest: Digest
    tags: tuple[str, ...]
    manifest: bool


def retag(repository: Repository, reference: str | Digest, tag: str) -> Digest:
    """Put a tag on what another tag or a digest stands for; no blob moves. Gives the manifest's digest."""
    found = repository.manifest(reference)
    put_manifest(repository, found.raw, found.media_type, tag)
    return found.digest


def delete_tag(repository: Repository, tag: str) -> Deleted:
    """Delete a tag and nothing else. Raises RefNotFound, RegistryRefused where the registry can't."""
    digest = repository.manifest(tag).digest
    repository.delete_manifest(tag)
    return Deleted(digest=digest, tags=(tag,), manifest=False)


def delete(repository: Repository, reference: str | Digest, *, abort: Callable[[], object]) -> Deleted:
    """Delete a tag, or where the registry can't do that and for a digest, the manifest with all its tags.

    `abort` ends all connections, see `in_parallel`. Raises RefNotFound, RegistryRefused.
    """
    found = repository.manifest(reference)
    digest = reference if isinstance(reference, Digest) else found.digest
    if not isinstance(reference, Digest) and _tag_is_gone(repository, reference):
        return Deleted(digest=digest, tags=(reference,), manifest=False)
    tags = tags_of(repository, digest, abort=abort)
    model = understood(found.raw, found.media_type)
    repository.delete_manifest(digest)
    if model is not None and model.subject is not None and not has_api(repository, model.subject.digest):
        referrers_tag.remove(repository, model.subject.digest, digest)
    return Deleted(digest=digest, tags=tags, manifest=True)


def _tag_is_gone(repository: Repository, tag: str) -> bool:
    """Delete a tag that is there; False where the registry has no such thing.

    Distribution 2.8 takes a tag for a wrong digest (400), 3 answers 405 where it may not, others have no such address.
    """
    try:
        repository.delete_manifest(tag)
    except RefNotFound:
        if repository.head_manifest(tag) is None:  # somebody else was quicker: nothing more is to be deleted
            raise
        return False
    except RegistryRefused as error:
        if error.status not in (400, 405, 501):
            raise
        return False
    return True


def tags_of(repository: Repository, digest: Digest, *, abort: Callable[[], object]) -> tuple[str, ...]:
    """Which tags of the repository stand for this digest: every tag is asked, in the order in which they are listed."""
    try:
        tags = tuple(repository.tags())
    except NotFound:  # some lists are gone with the last tag
        return ()
    answers = in_parallel(lambda tag: _stands_for(repository, tag), tags, abort=abort)
    return tuple(tag for tag, found in answers if found == digest)


def _stands_for(repository: Repository, tag: str) -> Digest | None:
    try:
        found = repository.head_manifest(tag)
    except (InvalidDocument, NotFound):
        return None
    return None if found is None else found.digest


def in_parallel(
    ask: Callable[[_T], _R], things: Iterable[_T], *, abort: Callable[[], object]
) -> Iterator[tuple[_T, _R]]:
    """Give each thing with what `ask` says of it, in their order; an interrupt calls `abort` to end all waiting."""
    from collections import deque
    from concurrent.futures import Future, ThreadPoolExecutor

    asked: deque[tuple[_T, Future[_R]]] = deque()
    with ThreadPoolExecutor(JOBS) as pool:
        try:
            for thing in list(things):
                asked.append((thing, pool.submit(ask, thing)))
                if len(asked) == AHEAD:
                    first, answer = asked.popleft()
                    yield first, answer.result()
            while asked:
                first, answer = asked.popleft()
                yield first, answer.result()
        except BaseException as error:
            if not isinstance(error, Exception):
                abort()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
