"""Many copies, one after the other: what is the same already is found out first, and one failure is not the end.

A destination whose name stands for the same digest is left alone: registries are asked by HEAD, without a byte of a
manifest; in a layout everything below the tag has to be there too. With referrers nothing is left alone: they change
while the image stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from fnmatch import fnmatchcase
from functools import partial
from typing import Literal, Protocol

from oci.errors import ConfigurationError, OciError, show
from oci.spec.digest import Digest
from oci.spec.platform import Platform
from oci.spec.record import Record
from oci.spec.reference import Reference
from oci.transports.base import ImageDestination, ImageSource, Progress, Warn
from oci.transports.copy import copy
from oci.transports.copy_list import Pair, Sync
from oci.transports.subset import subset

__all__ = ["Outcome", "Places", "copy_many"]

Status = Literal["copied", "same", "failed"]

_WILD = "*?["
_REFERRERS_TAG = re.compile(r"sha(?:256|512)-[0-9a-f]{64}")


class Places(Protocol):
    """How references are reached; transports/places.py has it for all kinds."""

    def source(self, reference: Reference) -> ImageSource: ...

    def destination(self, reference: Reference) -> AbstractContextManager[ImageDestination]: ...

    def tags(self, reference: Reference) -> Iterable[str]:
        """Give the tags of a repository, layout or archive."""
        ...

    def source_digest(self, reference: Reference) -> Digest | None:
        """Say cheaply what a source's name stands for; None where that takes opening it."""
        ...

    def destination_digest(self, reference: Reference) -> Digest | None:
        """Say what a destination's name stands for, with all of it there; None for nothing, or where nobody knows."""
        ...


class Outcome(Record):
    """What came of one copy; `error` is there where it failed."""

    source: str
    destination: str
    status: Status
    digest: Digest | None = None
    error: Exception | None = None


def copy_many(
    tasks: Sequence[Pair | Sync],
    places: Places,
    *,
    platform: Platform | None = None,
    with_referrers: bool = False,
    progress: Callable[[str], AbstractContextManager[Progress]] | None = None,
    warn: Warn | None = None,
) -> Iterator[Outcome]:
    """Copy everything that the tasks name, giving one outcome for each copy as it ends; stop asking to stop early.

    `platform` narrows what pairs name (None: whole indexes). `progress` makes what shows one copy's progress, given
    its source. Errors that are about one copy (OciError, OSError) are outcomes; others are raised.
    """
    written: dict[Reference, str] = {}
    for task in tasks:
        if isinstance(task, Pair):
            jobs: Iterable[_Job] = [
                _Job(
                    source=task.source,
                    destination=task.destination,
                    where=task.where,
                    platforms=() if platform is None else (platform,),
                    referrers=with_referrers,
                )
            ]
        else:
            try:
                jobs = list(_jobs(task, places, with_referrers, warn))
            except (OciError, OSError) as error:
                yield Outcome(source=str(task.source), destination=task.destination, status="failed", error=error)
                continue
        for job in jobs:
            yield _run(job, places, written, progress, warn)


class _Job(Record):
    source: Reference
    destination: Reference
    where: str
    platforms: tuple[Platform, ...]
    referrers: bool


def _jobs(sync: Sync, places: Places, with_referrers: bool, warn: Warn | None) -> Iterator[_Job]:
    patterns = [pattern for pattern in sync.tags if any(character in pattern for character in _WILD)]
    idle: list[str] = []
    if patterns:
        tags = [tag for tag in places.tags(sync.source) if tag in sync.tags or _is_image(tag, sync.tags)]
        idle = [pattern for pattern in patterns if not any(fnmatchcase(tag, pattern) for tag in tags)]
        missing = [tag for tag in sync.tags if tag not in patterns and tag not in tags]
        tags += missing  # said by name: that it is not there is an error
    else:
        tags = list(dict.fromkeys(sync.tags))
    tags = [tag for tag in tags if not _matches(tag, sync.exclude)]
    if warn is not None:
        for message in [f" {show(pattern)!r}" for pattern in idle] if tags else [""]:
            warn(f"{sync.where}: no tag of {sync.source} matches{message}")
    for tag in tags:
        yield _Job(
            source=sync.source.replace(tag=tag),
            destination=sync.target(tag),
            where=sync.where,
            platforms=sync.platforms,
            referrers=sync.referrers or with_referrers,
        )


def _is_image(tag: str, patterns: Iterable[str]) -> bool:
    """Whether a tag matches, and is not one under which clients keep a list of referrers.

    distribution-spec v1.1.1 spec.md#referrers-tag-schema. Copied like an image, it would take the place of the
    destination's own list; `referrers` brings along what is on it.
    """
    return _matches(tag, patterns) and _REFERRERS_TAG.fullmatch(tag) is None


def _matches(tag: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(tag, pattern) for pattern in patterns)


def _run(
    job: _Job,
    places: Places,
    written: dict[Reference, str],
    progress: Callable[[str], AbstractContextManager[Progress]] | None,
    warn: Warn | None,
) -> Outcome:
    outcome = partial(Outcome, source=str(job.source), destination=str(job.destination))
    try:
        if job.destination in written:
            raise ConfigurationError(
                job.where, f"{job.destination} is the destination of {written[job.destination]} too"
            )
        written[job.destination] = str(job.source)
        there = None if job.referrers else places.destination_digest(job.destination)
        if there is not None and not job.platforms and places.source_digest(job.source) == there:
            return outcome(status="same", digest=there)
        with places.source(job.source) as whole:
            source = subset(whole, job.platforms)
            wanted = source.resolve(None).digest
            if wanted == there:
                return outcome(status="same", digest=there)
            with places.destination(job.destination) as destination:
                if progress is None:
                    copy(source, destination, with_referrers=job.referrers, kin=(whole,), warn=warn)
                else:
                    with progress(str(job.source)) as shown:
                        copy(source, destination, with_referrers=job.referrers, kin=(whole,), progress=shown, warn=warn)
        return outcome(status="copied", digest=wanted)
    except (OciError, OSError) as error:
        return outcome(status="failed", error=error)
