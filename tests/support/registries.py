"""Debian's `docker-registry`, started for a test on a port of its own, and ended with it.

::

    with docker_registry(tmp_path, htpasswd={"alice": "secret"}) as registry:
        peer("skopeo", "copy", …, f"docker://{registry.host}/app:v1")
        assert registry.count("PUT", "/manifests/") == 1

The registry picks its port itself (it listens on port 0 and says which it got), so that no two tests ever meet. Its
access log is kept: `requests()` gives what was asked, in the order in which the answers ended.
"""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.peers import need
from tests.support.tls import Pair

STARTS_WITHIN = 20.0  # seconds; 0.1 on an idle machine
QUIET = 0.05  # seconds without a new line in an access log, after which it is taken to be whole

_ACCESS = re.compile(
    r'^\S+ - \S+ \[[^]]*\] "(?P<method>\S+) (?P<target>\S+) HTTP/[\d.]+" (?P<status>\d{3}) (?P<size>\d+)'
    r' "[^"]*" "(?P<agent>[^"]*)"'
)

# CLIENT METHOD TARGET STATUS BYTES SECONDS "AGENT"
_SERVED = re.compile(r'^\S+ (?P<method>\S+) (?P<target>\S+) (?P<status>\d{3}) (?P<size>\d+) [\d.]+s "(?P<agent>[^"]*)"')


@dataclass(frozen=True)
class Asked:
    """One line of the access log; `target` has the query, `size` counts the bytes of the answer's body."""

    method: str
    target: str
    status: int
    size: int
    agent: str

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


def _read(pattern: re.Pattern[str], lines: Iterable[str]) -> list[Asked]:
    found = (pattern.match(line) for line in lines)
    return [Asked(m["method"], m["target"], int(m["status"]), int(m["size"]), m["agent"]) for m in found if m]


class Counted:
    """A registry whose requests are counted."""

    host: str

    def requests(self) -> list[Asked]:
        """What was asked so far, once nothing is added any more: a line is logged after its answer was sent."""
        found = self.logged()
        while True:
            time.sleep(QUIET)
            more = self.logged()
            if len(more) == len(found):
                return found
            found = more

    def logged(self) -> list[Asked]:
        """The lines that are there."""
        raise NotImplementedError

    @property
    def port(self) -> int:
        return int(self.host.rpartition(":")[2])

    def asked(self, method: str, part: str = "", *, since: int = 0) -> list[Asked]:
        """The requests with this method whose target holds `part`, leaving out the first `since` of all."""
        return [one for one in self.requests()[since:] if one.method == method and part in one.target]

    def count(self, method: str, part: str = "", *, since: int = 0) -> int:
        return len(self.asked(method, part, since=since))

    def mark(self) -> int:
        """How many requests there were until now, for `since`."""
        return len(self.requests())


class DockerRegistry(Counted):
    """One that runs; `host` is what stands in a reference, `folder` holds all its files."""

    def __init__(self, host: str, folder: Path, *, scheme: str, process: subprocess.Popen[bytes]) -> None:
        self.host, self.folder, self.url = host, folder, f"{scheme}://{host}"
        self.log, self.errors = folder / "access.log", folder / "errors.log"
        self.storage = folder / "storage"
        self._process = process

    def logged(self) -> list[Asked]:
        return _read(_ACCESS, self.log.read_text(errors="replace").splitlines())

    def stored(self) -> set[str]:
        """The digests of all blobs and manifests in its storage, whole uploads only."""
        blobs = self.storage / "docker/registry/v2/blobs"
        return {f"{path.parent.parent.parent.name}:{path.parent.name}" for path in blobs.glob("*/*/*/data")}

    def close(self) -> None:
        end(self._process)


class OwnRegistry(Counted):
    """`ocikit serve` in this process, over a layout of its own."""

    def __init__(self, host: str, lines: list[str]) -> None:
        self.host, self._lines = host, lines

    def logged(self) -> list[Asked]:
        return _read(_SERVED, list(self._lines))


@contextmanager
def own_registry(folder: Path, *, name: str = "served") -> Iterator[OwnRegistry]:
    """Serve a new layout until the block ends."""
    from oci.serving import Server

    lines: list[str] = []
    with Server(folder / name, log=lines.append) as server:
        yield OwnRegistry(server.host, lines)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, by its pid, and see to it that it does."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


@contextmanager
def docker_registry(
    folder: Path,
    *,
    htpasswd: Mapping[str, str] | None = None,
    tls: Pair | None = None,
    client_ca: Path | None = None,
    read_only: bool = False,
    delete: bool = True,
    proxy: str | None = None,
    proxy_user: tuple[str, str] | None = None,
    token: Mapping[str, str] | None = None,
    catalog_max: int | None = None,
    storage: Path | None = None,
    name: str = "registry",
) -> Iterator[DockerRegistry]:
    """Run one until the block ends.

    `proxy` makes it a pull-through mirror of that URL. `token` is the four settings of its token authentication (see
    `tests.support.token_service`). `storage` lets two of them, one after the other or at once, serve the same files.
    Without docker-registry the test is skipped.
    """
    need("docker-registry")
    home = _fresh(folder, name)
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {
            "filesystem": {"rootdirectory": str(storage or home / "storage")},
            "delete": {"enabled": delete},
            "maintenance": {"readonly": {"enabled": read_only}, "uploadpurging": {"enabled": False}},
        },
        "http": {"addr": "127.0.0.1:0", "secret": "of a test"},
    }
    if htpasswd is not None:
        need("htpasswd")
        path = home / "htpasswd"
        path.write_bytes(b"".join(_hashed(user, password) for user, password in htpasswd.items()))
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(path)}}
    if token is not None:
        config["auth"] = {"token": dict(token)}
    if tls is not None:
        config["http"]["tls"] = {"certificate": str(tls.cert), "key": str(tls.key)}
        if client_ca is not None:
            config["http"]["tls"]["clientcas"] = [str(client_ca)]
    if proxy is not None:
        config["proxy"] = {"remoteurl": proxy}
        if proxy_user is not None:
            config["proxy"] |= dict(zip(("username", "password"), proxy_user, strict=True))
    if catalog_max is not None:
        config["catalog"] = {"maxentries": catalog_max}
    (home / "config.yml").write_text(json.dumps(config))  # JSON is YAML too
    program = shutil.which("docker-registry")
    assert program is not None
    with (home / "access.log").open("wb") as access, (home / "errors.log").open("wb") as errors:
        process = subprocess.Popen(
            [program, "serve", str(home / "config.yml")],
            stdin=subprocess.DEVNULL,
            stdout=access,
            stderr=errors,
            env={"PATH": "/usr/bin:/bin", "OTEL_SDK_DISABLED": "true"},
        )
    try:
        host = _listening(process, home / "errors.log")
        running = DockerRegistry(host, home, scheme="http" if tls is None else "https", process=process)
        if storage is not None:
            running.storage = storage
        if client_ca is None:
            _answers(running.url)
        yield running
    finally:
        end(process)


def _fresh(folder: Path, name: str) -> Path:
    number = 0
    while True:
        home = folder / (f"{name}-{number}" if number else name)
        try:
            home.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return home


def _hashed(user: str, password: str) -> bytes:
    # Cost 4: the registry hashes at every request, and tests make many. The password goes by stdin.
    done = subprocess.run(["htpasswd", "-niBC", "4", user], input=password.encode(), capture_output=True, check=True)
    return done.stdout.strip() + b"\n"


def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until it says which port it has."""
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until:
        found = re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text(errors="replace"))
        if found is not None:
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise AssertionError(f"docker-registry did not start: {log.read_text(errors='replace')}")


def _answers(url: str) -> None:
    """Poll until it answers; 401 is an answer."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    until = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            with opener.open(f"{url}/v2/", timeout=5):
                return
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
