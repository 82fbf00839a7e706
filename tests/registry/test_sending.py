"""The bytes of an upload: read once where possible, opened anew where not, and never complete unless they are right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from oci.errors import DigestMismatch, SizeMismatch, UnsupportedDigest
from oci.registry.sending import Body
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest

DATA = bytes(range(256)) * 40


class Opened:
    """Content in pieces, which counts how often it was opened and closed."""

    def __init__(self, data: bytes, piece: int = 1000) -> None:
        self.data, self.piece, self.opened, self.closed = data, piece, 0, 0

    @contextmanager
    def __call__(self) -> Iterator[Iterator[bytes]]:
        self.opened += 1
        try:
            yield (self.data[at : at + self.piece] for at in range(0, len(self.data), self.piece))
        finally:
            self.closed += 1


def descriptor(data: bytes = DATA, algorithm: str = "sha256") -> Descriptor:
    return Descriptor(media_type="a/b", digest=Digest.of(data, algorithm), size=len(data))


@pytest.mark.parametrize("piece", [1, 7, 1000, 100_000])
def test_windows_in_a_row_read_the_content_once(piece: int) -> None:
    content = Opened(DATA, piece)
    body = Body(descriptor(), content)
    parts = [b"".join(body.window(at, min(3000, len(DATA) - at))) for at in range(0, len(DATA), 3000)]
    body.close()
    assert b"".join(parts) == DATA
    assert [len(part) for part in parts] == [3000, 3000, 3000, 1240]
    assert (content.opened, content.closed) == (1, 1)


def test_a_window_elsewhere_opens_the_content_anew() -> None:
    content = Opened(DATA)
    body = Body(descriptor(), content)
    cut = body.window(0, len(DATA))
    assert next(cut) == DATA[:1000]
    cut.close()  # type: ignore[attr-defined]
    assert b"".join(body.window(512, 5000)) == DATA[512:5512]
    assert b"".join(body.window(5512, len(DATA) - 5512)) == DATA[5512:]
    body.close()
    assert (content.opened, content.closed) == (2, 2)


@pytest.mark.parametrize(
    ("said", "error"), [(DATA[:-1] + b"!", DigestMismatch), (DATA[:-1], SizeMismatch), (DATA + b"!", SizeMismatch)]
)
def test_a_content_that_lies_is_never_complete(said: bytes, error: type[Exception]) -> None:
    body = Body(descriptor(), Opened(said))
    sent: list[bytes] = []
    with pytest.raises(error) as raised:
        sent.extend(body.window(0, len(DATA)))
    assert sum(map(len, sent)) < len(DATA)
    assert body.fault is raised.value
    body.close()


def test_a_lie_before_a_resumed_part_is_found_too() -> None:
    body = Body(descriptor(), Opened(b"!" + DATA[1:]))
    with pytest.raises(DigestMismatch):
        list(body.window(9000, len(DATA) - 9000))
    body.close()


def test_an_empty_blob_is_checked_as_well() -> None:
    empty = Body(descriptor(b""), Opened(b""))
    assert empty.whole() == b""
    wrong = Body(Descriptor(media_type="a/b", digest=Digest.of(b"x"), size=0), Opened(b""))
    with pytest.raises(DigestMismatch):
        wrong.whole()


def test_what_can_not_be_verified_is_not_sent() -> None:
    with pytest.raises(UnsupportedDigest):
        Body(Descriptor(media_type="a/b", digest=Digest("blake3", "0" * 64), size=0), Opened(b""))
