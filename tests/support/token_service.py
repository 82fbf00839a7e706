"""A token service as Docker's "token authentication specification" and its OAuth2 form describe them, scripted.

docker-registry trusts the tokens it signs (`registry_settings`), so that Bearer is proven against a real registry::

    with TokenService(tmp_path / "tokens", users={"alice": "secret"}) as tokens:
        with docker_registry(tmp_path, token=tokens.registry_settings) as registry:
            …
            assert tokens.requests[-1].scopes == ("repository:app:pull",)

`grants` decides what an account (None: nobody in particular) may do; the default lets anybody pull what is below
`public/`, and an account do everything. `stale` makes the next tokens run out before they are handed out, though the
answer says otherwise: what a clock that is wrong, or a service that was restarted, looks like.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.tls import Authority

ISSUER = "token service of tests"
SERVICE = "registry of tests"

Grants = Callable[[str | None, str, str, tuple[str, ...]], tuple[str, ...]]  # account, type, name, wanted → given


@dataclass(frozen=True)
class TokenRequest:
    """What a client asked: GET with a query, or POST with a form; `account` is None where nobody logged in."""

    method: str
    scopes: tuple[str, ...]
    account: str | None
    status: int
    form: Mapping[str, str] = field(default_factory=dict)
    authorization: str | None = None


def by_account(account: str | None, kind: str, name: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The default policy."""
    if account is not None:
        return wanted
    return ("pull",) if kind == "repository" and name.startswith("public/") and "pull" in wanted else ()


class TokenService:
    """One that runs on loopback until its block ends."""

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str],
        refresh_tokens: Mapping[str, str] | None = None,
        grants: Grants = by_account,
        lives: int = 300,
        name: str = "access_token",
    ) -> None:
        self.users, self.refresh_tokens, self.grants = users, dict(refresh_tokens or {}), grants
        self.lives, self.stale = lives, 0
        self.takes_post = True  # False: 404, as services that only know GET
        self.name = name  # GET answers: "token", "access_token", or "both"
        self.requests: list[TokenRequest] = []
        self._lock = threading.Lock()
        pair = Authority(folder).server()
        self._key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
        cert = x509.load_pem_x509_certificate(pair.cert.read_bytes())
        self._chain = [base64.b64encode(cert.public_bytes(serialization.Encoding.DER)).decode()]
        self._bundle = folder / "ca.crt"
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                service._get(self)

            def do_POST(self) -> None:
                service._post(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.realm = f"http://127.0.0.1:{self._server.server_address[1]}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def registry_settings(self) -> dict[str, str]:
        """The settings of docker-registry's `auth: token`."""
        return {"realm": self.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(self._bundle)}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def token(self, account: str | None, scopes: tuple[str, ...], *, stale: bool = False) -> str:
        """Sign a token (RFC 7519) for what of the scopes this account may do."""
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            given = self.grants(account, kind, name, tuple(actions.split(",")))
            access.append({"type": kind, "name": name, "actions": list(given)})
        now = int(time.time())
        # docker-registry forgives a minute on either side.
        start, ends = (now - 7200, now - 3600) if stale else (now - 10, now + self.lives)
        claims = {"iss": ISSUER, "sub": account or "", "aud": SERVICE, "exp": ends, "nbf": start, "iat": start}
        head = {"typ": "JWT", "alg": "ES256", "x5c": self._chain}
        signed = f"{_encode(head)}.{_encode({**claims, 'jti': f'{now}', 'access': access})}"
        assert isinstance(self._key, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_base64(r.to_bytes(32) + s.to_bytes(32))}"

    def _next_is_stale(self) -> bool:
        with self._lock:
            stale = self.stale > 0
            self.stale -= stale
            return stale

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        query = parse_qs(urlsplit(request.path).query)
        scopes = tuple(word for value in query.get("scope", []) for word in value.split(" "))
        said = request.headers.get("Authorization")
        account = None
        if said is not None:
            account = self._basic(said)
            if account is None:
                self._answer(request, 401, {"details": "incorrect username or password"}, scopes, None)
                return
        word = self.token(account, scopes, stale=self._next_is_stale())
        names = ("token", "access_token") if self.name == "both" else (self.name,)
        self._answer(request, 200, dict.fromkeys(names, word) | {"expires_in": self.lives}, scopes, account)

    def _post(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", "0")))
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        scopes = tuple(form.get("scope", "").split())
        if not self.takes_post:
            self._answer(request, 404, {"message": "no such page"}, scopes, None, form)
            return
        if form.get("grant_type") == "refresh_token":
            account = self.refresh_tokens.get(form.get("refresh_token", ""))
        else:
            wanted = form.get("username", "")
            account = wanted if self.users.get(wanted, "") == form.get("password") else None
        if account is None or form.get("service") != SERVICE or "client_id" not in form:
            self._answer(request, 401, {"error": "invalid_grant"}, scopes, None, form)
            return
        answer = {"access_token": self.token(account, scopes, stale=self._next_is_stale())}
        self._answer(
            request, 200, answer | {"expires_in": self.lives, "scope": " ".join(scopes)}, scopes, account, form
        )

    def _basic(self, said: str) -> str | None:
        scheme, _, word = said.partition(" ")
        user, _, password = base64.b64decode(word).decode().partition(":")
        return user if scheme.lower() == "basic" and self.users.get(user) == password else None

    def _answer(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        value: Mapping[str, Any],
        scopes: tuple[str, ...],
        account: str | None,
        form: Mapping[str, str] | None = None,
    ) -> None:
        said = request.headers.get("Authorization")
        self.requests.append(TokenRequest(request.command, scopes, account, status, form or {}, said))
        raw = json.dumps(value).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(raw)))
        request.end_headers()
        request.wfile.write(raw)


def _encode(value: object) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
