"""What is sent: headers that can't be taken for more than one each, and bodies of the length that was promised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from oci.errors import ProtocolViolation, SourceError
from oci.http.urls import Url

__all__ = ["BodyFailed", "Outgoing", "headers_to_send"]


def headers_to_send(headers: Mapping[str, str], user_agent: str, length: int | None, url: Url) -> dict[str, str]:
    """Give all headers of a request; ProtocolViolation for a value that would be more than one line (RFC 9110 5.5).

    Values come from tokens and documents that a server gave: with a line break in one, it would choose our headers.
    """
    whole = {"Accept-Encoding": "identity", "User-Agent": user_agent}
    whole.update(headers)
    if length is not None:
        whole["Content-Length"] = str(length)
    for name, value in whole.items():
        if not _is_sendable(value):
            raise ProtocolViolation(url.public, f"the header {name} would hold a line break or control character")
    return whole


def _is_sendable(value: str) -> bool:
    if value.isascii() and value.isprintable():
        return True
    return all(" " <= c <= "~" or c == "\t" or "\xa0" <= c <= "\xff" for c in value)


class BodyFailed(Exception):  # noqa: N818 - carries the caller's own exception past the library
    def __init__(self, cause: BaseException) -> None:
        self.cause = cause


class Outgoing:
    """A request's body on its way: of the promised length, and with errors of its own kept apart from the network's."""

    def __init__(self, body: bytes | Iterable[bytes] | None, length: int | None, url: Url) -> None:
        self._length, self._url = length, url
        self._pieces_of_caller: Iterator[bytes] | None = None
        self.body = body if body is None or isinstance(body, bytes) else self._pieces(body)

    def close(self) -> None:
        """Let go of the body: a server may have answered before its end."""
        for it in (self.body, self._pieces_of_caller):
            if (close := getattr(it, "close", None)) is not None:
                close()

    def _pieces(self, body: Iterable[bytes]) -> Iterator[bytes]:
        count = 0
        pieces = self._pieces_of_caller = iter(body)
        while True:
            try:
                piece = next(pieces)
            except StopIteration:
                break
            except OSError as error:
                raise BodyFailed(error) from None
            count += len(piece)
            if self._length is not None and count > self._length:
                break
            yield piece
        if self._length is not None and count != self._length:
            more = "more than " if count > self._length else ""
            got = min(count, self._length)
            raise SourceError(f"what is sent to {self._url.public}", f"{more}{got} bytes in place of {self._length}")
