"""Basic authentication (RFC 7617) by an htpasswd file with bcrypt hashes, the only ones that Docker's registry takes.

bcrypt is slow on purpose, and a push makes hundreds of requests: what was right once is remembered, as a keyed hash
that is worth nothing outside this process. A wrong password and an unknown user take the same time. The file is read
again when it has changed, so users come and go without a restart.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import re
import threading

import bcrypt

from oci.errors import ConfigurationError
from oci.serving.exchange import Refusal

__all__ = ["MAX_HTPASSWD", "Passwords"]

MAX_HTPASSWD = 1 << 20  # bytes of an htpasswd file: some ten thousand users
CHECKS = 2  # hashes computed at a time: whoever guesses passwords doesn't take the whole machine
MAX_REMEMBERED = 1000  # passwords that were right, remembered

# The salt's last character holds two bits: the library raises for a hash with another one there.
_BCRYPT = re.compile(rb"\$2[abxy]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")


class Passwords:
    """The users of an htpasswd file; may be used by several threads at once."""

    def __init__(self, path: str, *, realm: str = "ocikit") -> None:
        self._path, self._realm = path, realm
        self._key = os.urandom(32)
        self._right: set[bytes] = set()
        self._lock = threading.Lock()
        self._slow = threading.BoundedSemaphore(CHECKS)
        self._stamp: tuple[int, ...] = ()
        self._users: dict[bytes, bytes] = {}
        self._read()

    def __repr__(self) -> str:
        return f"Passwords({self._path!r})"

    def check(self, header: str | None) -> str:
        """Give the user's name; 401 with a challenge for no, other or wrong credentials."""
        given = None if header is None else _basic(header)
        if given is None or not self._is_right(*given):
            challenge = ("WWW-Authenticate", f'Basic realm="{self._realm}", charset="UTF-8"')
            raise Refusal(401, "UNAUTHORIZED", "a user name and a password are needed", [challenge])
        return given[0].decode("utf-8", "backslashreplace")

    def _is_right(self, user: bytes, password: bytes) -> bool:
        with self._lock:
            self._read()
            known = self._users.get(user)
            key, any_hash = self._key, next(iter(self._users.values()), _NOBODY)
        stored = any_hash if known is None else known
        remembered = hmac.digest(key, user + b"\0" + stored + b"\0" + password, hashlib.sha256)
        if known is not None and remembered in self._right:
            return True
        with self._slow:
            right = _matches(password, stored)
        if not right or known is None:
            return False
        with self._lock:
            if len(self._right) >= MAX_REMEMBERED:
                self._right.clear()
            self._right.add(remembered)
        return True

    def _read(self) -> None:
        """Read the file if it is another one than before; a file that is broken or gone locks everybody out."""
        try:
            with open(self._path, "rb") as file:
                status = os.fstat(file.fileno())
                stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
                if stamp == self._stamp:
                    return
                raw = file.read(MAX_HTPASSWD + 1)
        except OSError as error:
            raise ConfigurationError(self._path, error.strerror or "can't be read") from None
        if len(raw) > MAX_HTPASSWD:
            raise ConfigurationError(self._path, f"more than {MAX_HTPASSWD} bytes")
        self._users = dict(self._parsed(raw))
        self._right.clear()
        self._stamp = stamp

    def _parsed(self, raw: bytes) -> list[tuple[bytes, bytes]]:
        users = []
        for number, line in enumerate(raw.splitlines(), 1):
            if not line.strip() or line.lstrip().startswith(b"#"):
                continue
            user, colon, hashed = line.strip().partition(b":")
            if not colon or not user:
                raise ConfigurationError(f"{self._path}:{number}", "expected USER:HASH, as `htpasswd -B` writes it")
            if _BCRYPT.fullmatch(hashed) is None:
                raise ConfigurationError(f"{self._path}:{number}", "not a bcrypt hash; make it with `htpasswd -B`")
            users.append((user, hashed))
        return users


# A hash of nothing that anybody knows, for a file without users.
_NOBODY = b"$2b$10$" + b"." * 53


def _matches(password: bytes, hashed: bytes) -> bool:
    if b"\0" in password:  # no password that htpasswd made: its words end there
        return False
    # bcrypt reads 72 bytes: htpasswd passes over the rest, the library would rather raise than do so.
    return bcrypt.checkpw(password[:72], hashed)


def _basic(header: str) -> tuple[bytes, bytes] | None:
    """Take user and password out of an Authorization header; None for any other scheme or bad base64."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        raw = binascii.a2b_base64(rest.strip().encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    user, colon, password = raw.partition(b":")
    return (user, password) if colon else None
