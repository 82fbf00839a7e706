"""`copy --from-file`: many copies in one run, a table of what came of them, and one exit status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from oci.cli import output, sources
from oci.cli.failures import FAILED, describe
from oci.cli.lazily import typer
from oci.cli.session import Session
from oci.errors import SourceError
from oci.spec.reference import Reference, RegistryRef, StoreRef

if TYPE_CHECKING:
    from oci.spec.platform import Platform
    from oci.transports.base import ImageDestination
    from oci.transports.copy_list import Pair, Sync
    from oci.transports.copy_many import Outcome
    from oci.transports.places import OpenPlaces
    from oci.transports.registries import Opener

_STDIN = "-"


def copy_list(
    session: Session,
    path: str,
    *,
    platform: Platform | None,
    with_referrers: bool,
    fail_fast: bool,
    json: bool,
) -> None:
    """Copy what a file names, say what came of each, and exit with 1 if one failed."""
    from oci.transports.copy_list import read_list
    from oci.transports.copy_many import copy_many

    tasks = read_list(_read(path), path, toml=path.endswith(".toml"))
    outcomes = []
    with _places(session, tasks) as places:
        for outcome in copy_many(
            tasks,
            places,
            platform=platform,
            with_referrers=with_referrers,
            progress=lambda source: session.progress(f"copying {source}"),
            warn=session.warn,
        ):
            outcomes.append(outcome)
            _tell(session, outcome)
            if fail_fast and outcome.status == "failed":
                break
    counts = {status: sum(one.status == status for one in outcomes) for status in ("copied", "same", "failed")}
    if json:
        output.document({"ok": not counts["failed"], **counts, "copies": [_described(one) for one in outcomes]})
    elif outcomes:
        output.table(
            ("STATUS", "DIGEST", "SOURCE", "DESTINATION"),
            [
                (one.status, "-" if one.digest is None else output.short(one.digest), one.source, one.destination)
                for one in outcomes
            ],
        )
    session.note(f"{counts['copied']} copied, {counts['same']} the same already, {counts['failed']} failed")
    if counts["failed"]:
        raise typer.Exit(FAILED)


@contextmanager
def _places(session: Session, tasks: Sequence[Pair | Sync]) -> Iterator[OpenPlaces]:
    """How the list's references are reached; who names no registry pays for none."""
    from oci.transports.copy_list import registries_of
    from oci.transports.places import OpenPlaces

    sources_at, destinations_at = registries_of(tasks)
    with ExitStack() as stack:
        origins = stack.enter_context(_opener(session, sources_at, "src")) if sources_at else None
        targets = stack.enter_context(_opener(session, destinations_at, "dest")) if destinations_at else None

        def writing(reference: Reference) -> AbstractContextManager[ImageDestination]:
            if targets is not None and isinstance(reference, RegistryRef):
                return targets.destination(reference)
            assert not isinstance(reference, StoreRef)
            return sources.open_for_writing(session, reference)

        yield OpenPlaces(sources=origins, destinations=targets, writing=writing, warn=session.warn)


def _opener(session: Session, registries: frozenset[str], side: str) -> AbstractContextManager[Opener]:
    """An opener with shared connections; `--creds` and its like speak for one registry only."""
    from oci.cli.registries import opener

    return opener(session, next(iter(registries)) if len(registries) == 1 else None, side).sharing()


def _read(path: str) -> bytes:
    from oci.transports.copy_list import MAX_LIST

    try:
        with open(0 if path == _STDIN else path, "rb", closefd=path != _STDIN) as file:
            return file.read(MAX_LIST + 1)
    except OSError as error:
        raise SourceError(path, f"can't be read: {error.strerror}") from error


def _tell(session: Session, outcome: Outcome) -> None:
    """One line on stderr at once for a failure: the table comes when all is over."""
    if outcome.error is not None:
        session.warn(f"{outcome.source} → {outcome.destination}: {describe(outcome.error)[1]}")


def _described(outcome: Outcome) -> dict[str, Any]:
    return {
        "source": outcome.source,
        "destination": outcome.destination,
        "status": outcome.status,
        "digest": None if outcome.digest is None else str(outcome.digest),
        "error": None if outcome.error is None else describe(outcome.error)[1],
    }
