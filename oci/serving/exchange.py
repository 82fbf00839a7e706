"""What the parts of the server talk in: a request, an answer, and the errors of distribution-spec v1.1.1.

Nothing here knows a socket. An Answer's body is bytes, or a part of an open file that the server sends and closes.
Errors go out as the spec's JSON (spec.md#error-codes); their words never hold what the client sent as a credential.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol
from urllib.parse import parse_qs

from oci.errors import show

__all__ = ["Answer", "Body", "FilePart", "Refusal", "Request", "error_body", "json_body"]

MAX_QUERY_FIELDS = 100  # fields of one query: the spec has three at most, and `tag` as often as there are tags

# spec.md#error-codes; UNKNOWN, which Docker's registry has too, is for failures that are ours.
CODES = frozenset(
    (
        "BLOB_UNKNOWN",
        "BLOB_UPLOAD_INVALID",
        "BLOB_UPLOAD_UNKNOWN",
        "DIGEST_INVALID",
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "SIZE_INVALID",
        "UNAUTHORIZED",
        "DENIED",
        "UNSUPPORTED",
        "TOOMANYREQUESTS",
        "UNKNOWN",
    )
)


class Body(Protocol):
    """A request's body, read once from front to back."""

    @property
    def length(self) -> int | None:
        """What Content-Length says; None for a chunked body."""
        ...

    def read(self, size: int) -> bytes:
        """Give at most `size` bytes, none at the end; Refusal when the client cuts it off, is too slow or lies."""
        ...


class Request:
    """One request: header names in lower case, the path percent-decoded once."""

    def __init__(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: Body, *, peer: str = ""
    ) -> None:
        self.method, self.path, self.headers, self.body, self.peer = method, path, headers, body, peer
        self.user = ""
        self._query = query

    def queries(self) -> dict[str, list[str]]:
        """Give the query's fields; 400 for more of them than anybody needs."""
        try:
            return parse_qs(self._query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:
            raise Refusal(400, "UNSUPPORTED", f"more than {MAX_QUERY_FIELDS} fields in the query") from None

    def query(self, name: str) -> str | None:
        """Give the first value of a field of the query."""
        values = self.queries().get(name)
        return values[0] if values else None


class FilePart:
    """Bytes of an open file; whoever gets it closes the descriptor."""

    def __init__(self, descriptor: int, offset: int, length: int) -> None:
        self.descriptor, self.offset, self.length = descriptor, offset, length

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


Headers = Sequence[tuple[str, str]]


class Answer:
    """A status, headers and a body; `length` is what Content-Length says, also where a HEAD leaves the body out."""

    def __init__(
        self,
        status: int,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | FilePart = b"",
        length: int | None = None,
    ) -> None:
        self.status, self.headers, self.body = status, list(headers), body
        self.length = length if length is not None else body.length if isinstance(body, FilePart) else len(body)

    def without_body(self) -> Answer:
        """Give the answer to HEAD: the same headers, no body."""
        if isinstance(self.body, FilePart):
            self.body.close()
        return Answer(self.status, self.headers, b"", self.length)


class Refusal(Exception):  # noqa: N818 - it is an answer, told to a client, as those in oci.errors are
    """An answer that is an error: `code` of the spec, a sentence, and headers that belong to it.

    `close` says that the rest of the request's body can't be told from the next request, or isn't worth reading.
    """

    def __init__(self, status: int, code: str, message: str, headers: Headers = (), *, close: bool = False) -> None:
        assert code in CODES, code
        assert code != "UNKNOWN" or status >= 500, message  # the spec's list is for 4XX
        self.status, self.code, self.message, self.headers, self.close = status, code, message, headers, close
        super().__init__(message)

    def answer(self) -> Answer:
        return Answer(
            self.status,
            [("Content-Type", "application/json"), *self.headers],
            error_body(self.code, self.message),
        )


def error_body(code: str, message: str) -> bytes:
    """The spec's JSON for one error; what was sent to us is shown escaped and cut."""
    return json_body({"errors": [{"code": code, "message": show_long(message)}]})


def json_body(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def show_long(message: str) -> str:
    """A sentence of ours, which may quote hostile names: printable, and no longer than an error needs to be."""
    return message if len(message) < 1000 and message.isprintable() else show(message[:1000])
