"""Programs that keep credentials: `docker-credential-NAME get|store|erase` (docker/docker-credential-helpers).

A helper is named in config.json (`credsStore`, `credHelpers`) by NAME alone, and looked for in PATH; a NAME that could
be a path is refused, and directories of PATH that are not absolute are passed over. It is given the registry's key, or
JSON, on stdin, and answers on stdout::

    {"ServerURL": "https://index.docker.io/v1/", "Username": "david", "Secret": "…"}

The user name `<token>` says that the secret is an identity token. A status other than 0 with "credentials not found in
native keychain" on stdout is no failure. A helper has a time limit, and its output a size. Secrets are never arguments,
and what a helper says about a failure is shown only if no secret of ours is in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from oci.auth.credential import Credentials
from oci.errors import ConfigurationError, InvalidDocument, LimitExceeded, show
from oci.spec.record import Record, field
from oci.spec.wire import dumps, loads

if TYPE_CHECKING:
    from subprocess import Popen

__all__ = ["IDENTITY", "Helpers"]

MAX_OUTPUT = 1 << 20  # bytes that a helper says; a secret has some KiB
SECONDS = 120.0  # for one call: some ask for a passphrase, in a window or on the terminal
PIECE = 65536
TICK = 0.2  # seconds between two looks at the time
IDENTITY = "<token>"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NOT_FOUND = b"credentials not found"


class Helpers(Record):
    """How helpers are run: with this environment, whose PATH says where they are, and for so many seconds."""

    environ: Mapping[str, str] = field(default_factory=dict, hash=False)
    seconds: float = SECONDS

    def __repr__(self) -> str:  # an environment may hold secrets
        return "Helpers(…)"

    def find(self, name: str) -> str | None:
        """Give the path of the helper of this name; None where there is none. ConfigurationError for a bad name."""
        if not _NAME.fullmatch(name):
            raise ConfigurationError(_program(name), "a credential helper has a plain name, of letters, digits, . _ -")
        for folder in self.environ.get("PATH", "").split(":"):
            path = f"{folder}/{_program(name)}"
            if folder.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        return None

    def get(self, name: str, key: str) -> Credentials | None:
        """Ask for what is kept under `key`; None where nothing is."""
        status, out, said = self._run(name, "get", key.encode())
        if status != 0:
            if _NOT_FOUND in out.lower():
                return None
            raise self._failed(name, "get", status, said if out.lstrip().startswith(b"{") else out or said)
        return _read(name, out)

    def store(self, name: str, key: str, credentials: Credentials) -> None:
        """Have credentials kept under `key`."""
        user, secret = credentials.username, credentials.password
        if credentials.identity_token is not None:
            user, secret = IDENTITY, credentials.identity_token
        status, out, said = self._run(
            name, "store", dumps({"ServerURL": key, "Username": user, "Secret": secret}) + b"\n"
        )
        if status != 0:
            raise self._failed(name, "store", status, out or said, secret)

    def erase(self, name: str, key: str) -> bool:
        """Have what is kept under `key` forgotten; False where nothing was, as far as the helper tells."""
        status, out, said = self._run(name, "erase", key.encode())
        if status != 0 and _NOT_FOUND not in out.lower():
            raise self._failed(name, "erase", status, out or said)
        return status == 0

    def _run(self, name: str, action: str, given: bytes) -> tuple[int, bytes, bytes]:
        """Run a helper; give its exit status, stdout and the beginning of stderr."""
        import subprocess

        path = self.find(name)
        if path is None:
            raise ConfigurationError(_program(name), "this credential helper is not installed (not found in PATH)")
        pipe = subprocess.PIPE
        try:
            process = subprocess.Popen([path, action], stdin=pipe, stdout=pipe, stderr=pipe, env=dict(self.environ))
        except OSError as error:
            raise ConfigurationError(path, f"can't be run: {(error.strerror or 'unknown').lower()}") from None
        try:
            return self._talk(process, name, given)
        finally:
            for stream in (process.stdin, process.stdout, process.stderr):
                assert stream is not None
                with suppress(OSError):
                    stream.close()
            if process.poll() is None:
                process.kill()
                process.wait()

    def _talk(self, process: Popen[bytes], name: str, given: bytes) -> tuple[int, bytes, bytes]:
        """Hand over `given`, and read what comes, within the time and the size."""
        from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector

        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        until, left = monotonic() + self.seconds, memoryview(given)
        heard = {stdout.fileno(): bytearray(), stderr.fileno(): bytearray()}
        os.set_blocking(stdin.fileno(), False)
        with DefaultSelector() as selector:
            selector.register(stdin, EVENT_WRITE)
            for stream in (stdout, stderr):
                selector.register(stream, EVENT_READ)
            reading = 2
            while reading:
                ready = selector.select(TICK)
                if monotonic() > until:
                    raise self._late(name)
                if not ready and process.poll() is not None:
                    break  # a process that it started holds the pipes open still
                for key, _ in ready:
                    if key.fileobj is stdin:
                        left = _write(key.fd, left)
                        if not left:
                            selector.unregister(stdin)
                            with suppress(OSError):
                                stdin.close()
                        continue
                    data = os.read(key.fd, PIECE)
                    heard[key.fd] += data
                    if not data:
                        selector.unregister(key.fileobj)
                        reading -= 1
                    if len(heard[key.fd]) > MAX_OUTPUT:
                        raise ConfigurationError(_program(name), f"it says more than {MAX_OUTPUT} bytes")
            out, said = (bytes(words) for words in heard.values())
        return self._end_of(process, name, until), out, said

    def _end_of(self, process: Popen[bytes], name: str, until: float) -> int:
        from subprocess import TimeoutExpired

        try:
            return process.wait(max(TICK, until - monotonic()))
        except TimeoutExpired:
            raise self._late(name) from None

    def _late(self, name: str) -> ConfigurationError:
        return ConfigurationError(_program(name), f"this credential helper did not end within {self.seconds:g} seconds")

    def _failed(self, name: str, action: str, status: int, said: bytes, secret: str = "") -> ConfigurationError:
        text = said.decode("utf-8", "replace")
        if text.lstrip().startswith("{"):  # an answer, which holds the secret, and no reason
            text = ""
        words = next((line for line in text.splitlines() if line.strip()), "").strip()
        if secret and (secret[:8] in text or dumps(secret).decode()[1:9] in text):
            words = ""
        how = f"exit status {status}" if status >= 0 else f"signal {-status}"
        return ConfigurationError(_program(name), f"`{action}` failed: {show(words) if words else how}")


def _program(name: str) -> str:
    return f"docker-credential-{name}"


def _write(descriptor: int, left: memoryview) -> memoryview:
    """Write some of it; a helper that reads nothing has what it wants."""
    try:
        return left[os.write(descriptor, left[:PIECE]) :]
    except BlockingIOError:
        return left
    except BrokenPipeError:
        return left[:0]


def _read(name: str, out: bytes) -> Credentials | None:
    """Read the answer to `get`. Nothing of it is shown."""
    try:
        value = loads(out, document="its answer", limit=MAX_OUTPUT)
    except (InvalidDocument, LimitExceeded):
        value = None
    if not isinstance(value, dict):
        raise ConfigurationError(_program(name), "its answer to `get` is not a JSON object")
    user, secret = value.get("Username", ""), value.get("Secret", "")
    if not isinstance(user, str) or not isinstance(secret, str):
        raise ConfigurationError(_program(name), "in its answer to `get`, Username and Secret are not both strings")
    if user == IDENTITY:
        return Credentials(identity_token=secret) if secret else None
    return Credentials(username=user, password=secret) if user or secret else None
