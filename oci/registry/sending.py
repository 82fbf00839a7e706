"""A blob on its way out: any part of it, read once where possible, and never its end before all of it was verified.

distribution-spec v1.1.1 spec.md#pushing-blobs. The digest of what is sent is computed while it is sent. When the bytes
are not what the descriptor says, reading raises before the last chunk is handed out, so the request that carries it
stays incomplete and the registry has nothing that it could take for the blob.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

from oci.layout.blobs import Content
from oci.spec.descriptor import Descriptor
from oci.streams.verify import verified

__all__ = ["Body"]


class Body:
    """The bytes of one blob for requests; for one thread. `fault` is what went wrong while the content was read."""

    def __init__(self, descriptor: Descriptor, content: Content) -> None:
        descriptor.digest.hasher()  # UnsupportedDigest: what can't be verified is not sent
        self._descriptor, self._content = descriptor, content
        self._opened: AbstractContextManager[Iterator[bytes]] | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._rest = memoryview(b"")  # read, not handed out
        self._position = 0
        self._raw: bytes | None = None
        self.fault: BaseException | None = None

    def whole(self) -> bytes:
        """All bytes, verified, and kept; for small blobs."""
        if self._raw is None:
            self._raw = b"".join(self.window(0, self._descriptor.size))
            self.close()
        return self._raw

    def window(self, start: int, length: int) -> Iterator[bytes]:
        """The bytes from `start` on; those behind the last window go on without reading anything twice."""
        if self._raw is not None:
            yield self._raw[start : start + length]
            return
        try:
            if self._opened is None or self._position != start:
                self._reopen(start)
            end = start + length
            while self._position < end:
                part = self._next(end - self._position)
                if part is None:
                    break
                # Counted before it is given out: a window that is left in the middle has to be opened anew.
                self._position += len(part)
                yield part
            if end == self._descriptor.size:
                self._next(1)  # an empty blob has no last chunk that could wait for the verdict
        except GeneratorExit:
            raise
        except BaseException as error:
            self.fault = error
            raise

    def _next(self, most: int) -> bytes | None:
        """The next bytes, at most so many; None at the end of the content."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return None
            self._rest = memoryview(chunk)
        if len(self._rest) <= most:
            part, self._rest = self._rest, memoryview(b"")
            return part.obj if isinstance(part.obj, bytes) and len(part.obj) == len(part) else bytes(part)
        part, self._rest = self._rest[:most], self._rest[most:]
        return bytes(part)

    def _reopen(self, start: int) -> None:
        """Begin again, and pass over what the registry has; it is hashed all the same."""
        self.close()
        opened = self._content()
        chunks = opened.__enter__()
        self._opened = opened
        self._chunks = verified(chunks, self._descriptor.digest, self._descriptor.size)
        self._position = 0
        while self._position < start:
            part = self._next(start - self._position)
            if part is None:
                break
            self._position += len(part)

    def close(self) -> None:
        """Close the content. What it holds open is not needed any more, so nothing that it says then matters."""
        opened, self._opened = self._opened, None
        self._rest, self._chunks = memoryview(b""), iter(())
        if opened is not None:
            opened.__exit__(None, None, None)
