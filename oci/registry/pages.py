"""Lists that come in pages: one request after the other by the Link header, until there is no next one.

distribution-spec v1.1.1 spec.md#listing-tags, #listing-referrers. A hostile list never ends: a link that was followed
before, pages that bring nothing new, and more pages than anybody's list has are each one clear error.
"""

from __future__ import annotations

from collections.abc import Iterator

from oci.errors import LimitExceeded, ProtocolViolation
from oci.http.exchange import Response
from oci.http.link import next_page

__all__ = ["Pages"]

MAX_PAGES = 20_000  # of one list: with the usual 100 or 1000 entries each, more than any list has entries
MAX_IDLE = 16  # pages in a row without anything new: one or two where a filter leaves nothing, no more


class Pages:
    """Which page of a list comes next, and whether the list still gets on.

    ``for path in pages:`` gives path and query of each; before the next one, `turn` is told of the answer and of how
    many new entries it had.
    """

    def __init__(self, first: str, *, host: str, what: str) -> None:
        self._next: str | None = first
        self._host, self._what = host, what
        self._followed = {hash(first)}  # links are long, and there may be many
        self._idle = 0
        self.page = first

    def __iter__(self) -> Iterator[str]:
        while self._next is not None:
            self.page, self._next = self._next, None
            yield self.page

    def turn(self, response: Response, new: int, *, otherwise: str | None = None) -> None:
        """Go on to the page that the answer links to, or where it links to none to `otherwise`.

        Raises ProtocolViolation for a list that goes round in circles, LimitExceeded for one without end.
        """
        linked = next_page(response.headers.all("Link"), page=self.page, host=self._host)
        if linked is not None:
            self._idle = 0 if new else self._idle + 1
            if hash(linked) in self._followed or self._idle >= MAX_IDLE:
                raise ProtocolViolation(
                    f"{self._host}{self.page}", f"{self._what}: its pages go round in circles; the list is not complete"
                )
        elif new:
            linked = otherwise
        if linked is not None:
            if len(self._followed) >= MAX_PAGES:
                raise LimitExceeded(f"pages of {self._what}", MAX_PAGES)
            self._followed.add(hash(linked))
        self._next = linked

    def restart(self, first: str) -> None:
        """Ask for the first page in another way."""
        self._followed.add(hash(first))
        self._next = first
