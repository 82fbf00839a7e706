"""The keys that leave a container running and end the client: docker's `--detach-keys`, "ctrl-p,ctrl-q" by default."""

from __future__ import annotations

from oci.errors import InvalidInput, show

__all__ = ["DETACH_KEYS", "KeyScanner", "parse_keys"]

DETACH_KEYS = "ctrl-p,ctrl-q"
MAX_KEYS = 32  # keys of a sequence

_NAMED = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse_keys(text: str, *, where: str = "detach keys") -> bytes:
    """A list as "ctrl-p,ctrl-q" or "a,b" → the bytes that a terminal sends; nothing for "". Raises InvalidInput."""
    if not text:
        return b""
    words = text.split(",")
    if len(words) > MAX_KEYS:
        raise InvalidInput(f"{where}: more than {MAX_KEYS}")
    return bytes(_key(word, f"{where} {show(text)!r}") for word in words)


def _key(word: str, said: str) -> int:
    if len(word) == 1 and word.isascii() and word.isprintable():
        return ord(word)
    name = word.lower().removeprefix("ctrl-")
    if word.lower() != name and len(name) == 1:
        if "a" <= name <= "z":
            return ord(name) - ord("a") + 1
        if name in _NAMED:
            return _NAMED[name]
    raise InvalidInput(f"{said}: {show(word)!r} is no key; as in ctrl-p,ctrl-q or a,b")


class KeyScanner:
    """Looks for the keys in what is typed; what may be their beginning is held back until it is clear."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0
        self.found = False

    def feed(self, data: bytes) -> bytes:
        """What to send on of `data`; behind the keys nothing."""
        keys = self._keys
        if not keys:
            return data
        out = bytearray()
        for byte in data:
            while self._matched and byte != keys[self._matched]:
                # Not the keys: the first byte that was held back goes on, the others are looked at again.
                held = keys[: self._matched]
                out.append(held[0])
                self._matched = _overlap(keys, held[1:])
                out += held[1 : len(held) - self._matched]
            if byte == keys[self._matched]:
                self._matched += 1
                if self._matched == len(keys):
                    self.found = True
                    break
            else:
                out.append(byte)
        return bytes(out)


def _overlap(keys: bytes, tail: bytes) -> int:
    """How many bytes at the end of `tail` are the beginning of `keys`."""
    return next(size for size in range(len(tail), -1, -1) if keys.startswith(tail[len(tail) - size :]))
