"""A repository to push to and pull from, with all that a client has to be told: for ours and for skopeo alike.

`MODES` are the ways in which a registry may be guarded. `place(mode, folder)` starts docker-registry so, or our own for
`OWN`, and gives a `Place`, whose `ocikit` and `skopeo` run the two clients with credentials and certificates that fit.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from oci.cli.entry import main
from tests.support.commands import Result
from tests.support.peers import ROOT, need
from tests.support.registries import Counted, docker_registry, own_registry
from tests.support.tls import Authority
from tests.support.token_service import TokenService

MODES = ("open", "htpasswd", "tls", "client-certificate", "token")
OWN = "ocikit serve"
USER, PASSWORD = "alice", "correct horse:battery"

_SKOPEO_BOTH = {"copy": ("--src-", "--dest-"), "sync": ("--src-", "--dest-")}


class Place:
    """One registry as its clients see it; `name` makes references into it."""

    def __init__(self, host: str, folder: Path, *, registry: Counted | None = None) -> None:
        self.host, self.folder, self._registry = host, folder, registry
        self.tokens: TokenService | None = None
        self.options: list[str] = []  # of ocikit, behind its command
        self.cert_dir: Path | None = None
        self.tls = False
        home = folder / "home"
        home.mkdir(exist_ok=True)
        (folder / "registries.conf").write_text("")
        (folder / "auth.json").write_text("{}")
        self.env = clean_environment(home) | {
            "REGISTRY_AUTH_FILE": str(folder / "auth.json"),
            "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
        }

    @property
    def registry(self) -> Counted:
        assert self._registry is not None
        return self._registry

    def name(self, repository: str, tag: str = "v1") -> str:
        return f"docker://{self.host}/{repository}:{tag}"

    def log_in(self, user: str = USER, password: str = PASSWORD) -> None:
        """Write the credentials that both clients read."""
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        path = Path(self.env["REGISTRY_AUTH_FILE"])
        path.write_text(json.dumps({"auths": {self.host: {"auth": auth}}}))
        path.chmod(0o600)

    def run(self, command: str, *arguments: object, env: Mapping[str, str] = {}, stdin: str = "") -> Result:
        """Run ours in this process, whatever comes of it: a matrix of programs would take a minute to start."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        words = [command, *self.options, *map(str, arguments)]
        with (
            mock.patch.dict(os.environ, {**self.env, **env}, clear=True),
            mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8")),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            status = main(words)
        said = [stream.detach().getvalue().decode() for stream in (out, err)]
        return Result(status, *said)

    def ocikit(self, command: str, *arguments: object, env: Mapping[str, str] = {}) -> str:
        """Run ours, which has to succeed; what it prints."""
        done = self.run(command, *arguments, env=env)
        assert done.status == 0, f"ocikit {command} {arguments}: {done.err}"
        return done.out

    def fails(self, command: str, *arguments: object, env: Mapping[str, str] = {}, status: int = 1) -> str:
        """Run ours, which has to fail: the one line it prints on stderr."""
        done = self.run(command, *arguments, env=env)
        assert done.status == status, f"ocikit {command} {arguments}: {done.status} {done.out}{done.err}"
        lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, done.err
        assert "Traceback" not in done.err
        return lines[0]

    def start(self, command: str, *arguments: object) -> subprocess.Popen[bytes]:
        """Start ours as a program of its own and leave it running, silent."""
        words = [sys.executable, "-m", "oci", command, *self.options, *map(str, arguments)]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(words, env=self.env, stdin=quiet, stdout=quiet, stderr=quiet, cwd=self.folder)

    def skopeo(self, command: str, *arguments: object) -> str:
        """Run skopeo, which has to succeed; what it prints."""
        need("skopeo")
        options = []
        for prefix in _SKOPEO_BOTH.get(command, ("--",)):
            if not self.tls:
                options.append(f"{prefix}tls-verify=false")
            if self.cert_dir is not None:
                options.append(f"{prefix}cert-dir={self.cert_dir}")
        words = ["skopeo", "--command-timeout", "30s", command, *options, *map(str, arguments)]
        done = subprocess.run(words, env=self.env, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def skopeo_json(self, command: str, *arguments: object) -> Any:
        return json.loads(self.skopeo(command, *arguments))


def clean_environment(home: Path) -> dict[str, str]:
    """What a program needs of this process's environment, and a home of its own: no logins, proxies or mirrors."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return kept | {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "DOCKER_CONFIG": str(home / "docker"),
        "PYTHONPATH": str(ROOT),
    }


@contextmanager
def place(mode: str, folder: Path, **more: Any) -> Iterator[Place]:
    """Start docker-registry in one of `MODES`, or our own; further arguments go to docker-registry."""
    with ExitStack() as stack:
        if mode == OWN:
            own = stack.enter_context(own_registry(folder))
            yield Place(own.host, folder, registry=own)
            return
        tokens = None
        authority = Authority(folder / "ca")
        if mode == "htpasswd":
            more["htpasswd"] = {USER: PASSWORD}
        if mode in ("tls", "client-certificate"):
            more["tls"] = authority.server()
        if mode == "client-certificate":
            more["client_ca"] = authority.file
        if mode == "token":
            tokens = stack.enter_context(TokenService(folder / "tokens", users={USER: PASSWORD}))
            more["token"] = tokens.registry_settings
        registry = stack.enter_context(docker_registry(folder, **more))
        made = Place(registry.host, folder, registry=registry)
        made.tokens = tokens
        if mode in ("htpasswd", "token"):
            made.log_in()
        if mode == "tls":
            made.tls = True
            made.env["SSL_CERT_FILE"] = str(authority.file)
            made.options = ["--tls-verify=true"]
        if mode == "client-certificate":
            made.tls = True
            made.cert_dir = folder / "certs"
            made.cert_dir.mkdir()
            client = authority.client()
            (made.cert_dir / "ca.crt").write_bytes(authority.file.read_bytes())
            (made.cert_dir / "client.cert").write_bytes(client.cert.read_bytes())
            (made.cert_dir / "client.key").write_bytes(client.key.read_bytes())
            made.options = ["--tls-verify=true", f"--cert-dir={made.cert_dir}"]
        yield made
