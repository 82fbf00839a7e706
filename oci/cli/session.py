"""What every command is given: streams, --quiet, and what the environment says, each read and checked in one place."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from oci.cli.failures import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    import typer

    from oci.cli.progress import Progress

# The largest time that RFC 3339 can say, 9999-12-31T23:59:59Z.
_LAST_SECOND = 253_402_300_799


class Session:
    """One run of the command line; Typer's context carries it as `ctx.obj`."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self.quiet = False
        self.root: str | None = None  # of the local store, and how it is used: see storing.py
        self.driver: str | None = None
        self.runtime: str | None = None
        self.uid = os.getuid()  # who called, whoever we are in a user namespace of our own
        self.access: dict[str, str] = {}  # what options say about registries, see registries.py
        self.known: Any = None  # and what was read and asked for because of them
        self._progress: Progress | None = None  # what is being shown at the moment

    @staticmethod
    def of(context: typer.Context) -> Session:
        session = context.obj
        if not isinstance(session, Session):
            session = Session()
            context.obj = session
        return session

    @property
    def stdout(self) -> TextIO:
        return sys.stdout

    @property
    def stderr(self) -> TextIO:
        return sys.stderr

    def note(self, text: str) -> None:
        """A line for people on stderr, unless --quiet."""
        if not self.quiet:
            from oci.cli.output import printable

            sys.stdout.flush()  # what was said before comes before, where both go to one file
            self._print(printable(text))

    def warn(self, text: str) -> None:
        """A `warning: …` line on stderr; --quiet does not silence it."""
        from oci.cli.output import printable

        self._print(f"warning: {printable(text)}")

    def _print(self, line: str) -> None:
        if self._progress is None:
            print(line, file=sys.stderr)
        else:
            self._progress.print(line)

    @contextmanager
    def progress(self, label: str) -> Iterator[Progress]:
        """Show how far something is that may take long."""
        from oci.cli.progress import Progress

        with Progress(label, stream=sys.stderr, quiet=self.quiet, environ=self.environ) as progress:
            self._progress = progress
            try:
                yield progress
            finally:
                self._progress = None

    def source_date_epoch(self) -> int | None:
        """SOURCE_DATE_EPOCH in seconds (https://reproducible-builds.org/specs/source-date-epoch), None when unset."""
        text = self.environ.get("SOURCE_DATE_EPOCH", "")
        if not text:
            return None
        if not (text.isascii() and text.isdigit()) or int(text) > _LAST_SECOND:
            raise UsageError(f"SOURCE_DATE_EPOCH={text!r}: not a whole number of seconds since 1970-01-01")
        return int(text)

    def created(self, text: str | None) -> str | None:
        """The time to write into an image: `--created`, else SOURCE_DATE_EPOCH, else none (reproducible by default)."""
        from oci.spec import rfc3339

        if text is None:
            seconds = self.source_date_epoch()
            return None if seconds is None else rfc3339.format(seconds * rfc3339.NANOSECONDS)
        try:
            rfc3339.parse(text)
        except ValueError as error:
            raise UsageError(f"--created {text!r}: {error}") from None
        return text
