"""One token from a token service (docs/spec/auth/token.md and oauth.md of distribution; RFC 6749, RFC 6750).

Without credentials, or with user name and password, it is a GET with `service`, `scope` and `account`, and Basic
authentication. With a refresh token (`identitytoken` of config.json) it is a POST of a form, as it is with a password
where the service takes no GET.

The service is named by the registry, and gets the user's password: that is how Docker Hub, GitLab and Harbor work, and
why a registry is trusted with its own users. What is refused all the same: a realm of another scheme than http(s), one
on plain http for a registry on https, one on this machine or its link for a registry elsewhere, and credentials over
plain http to another host than the registry's own, unless that is this machine. Redirects are followed within the
service's origin only; a password never goes further. The answer is bounded, and a token that would not be one word of a
header is refused. No error shows a token, a password or words of a service that repeat them.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from oci.errors import AuthenticationFailed, InvalidDocument, LimitExceeded, ProtocolViolation, RegistryRefused, show
from oci.http.failures import NotReached
from oci.http.redirects import REDIRECTS, check_target, follow
from oci.http.responses import MAX_ERROR, parse_errors, tells
from oci.http.retry import may_pass
from oci.http.urls import Url, is_loopback_name, parse_url
from oci.spec.record import Record
from oci.spec.reference import canonical
from oci.spec.wire import loads

if TYPE_CHECKING:
    from oci.auth.credential import Credentials
    from oci.auth.scope import Scope
    from oci.http.exchange import Response

__all__ = ["Service", "Token", "basic", "fetch"]

MAX_ANSWER = 1 << 20  # bytes of a token service's answer; real ones have some KiB, and some more for many scopes
MAX_TOKEN = 65536  # characters; servers take headers of some 8 to 64 KiB
MAX_SERVICE = 1024  # characters of `service`; real ones are a host's name
MAX_REDIRECTS = 3  # within the service

LASTS = 60  # seconds, where the answer doesn't say; and the least, whatever it says (token.md, `expires_in`)
LONGEST = 86400  # seconds that a token is kept at most, whatever the answer says
MARGIN = 30  # seconds before its end that a token is renewed, but at most a fifth of its time
CLIENT_ID = "ocikit"


class Service(Record):
    """Where tokens come from, and the name under which it knows the registry."""

    realm: Url
    service: str
    registry: Url

    @classmethod
    def of(cls, params: Mapping[str, str], *, asked_by: str) -> Service:
        """Read a Bearer challenge's parameters; ProtocolViolation for a realm that is no place to send credentials."""
        registry = parse_url(asked_by)
        try:
            realm = parse_url(params["realm"], asked=registry.origin)
            check_target(registry, realm, registry=registry)
        except ProtocolViolation as error:
            raise ProtocolViolation(registry.origin, f"its token service (realm): {error.reason}") from None
        service = params.get("service", "")
        if len(service) > MAX_SERVICE:
            raise ProtocolViolation(registry.origin, f"the name of its token service is over {MAX_SERVICE} characters")
        return cls(realm=realm, service=service, registry=registry)

    @property
    def may_see_secrets(self) -> bool:
        """Whether nobody in between reads what we send (or whoever does, reads the registry's traffic anyway)."""
        if self.realm.scheme == "https" or is_loopback_name(self.realm.host):
            return True
        return self.realm.origin == self.registry.origin


class Token(Record):
    """A token for the header `Authorization: Bearer …`, and for how many seconds it may be used."""

    value: str
    lasts: float

    def __repr__(self) -> str:
        return f"Token(…, lasts={self.lasts})"


Send = Callable[..., "Response"]


def fetch(
    send: Send, service: Service, scopes: Sequence[Scope], credentials: Credentials | None, *, host: str
) -> Token:
    """Get a token for `scopes`; `host` is the registry's name as `ocikit login` takes it.

    Raises AuthenticationFailed where the service refuses us, ProtocolViolation for an answer that is no token, and
    ConnectionFailed where the service can't be reached, or is busy.
    """
    if credentials is not None and not service.may_see_secrets:
        reason = f"its token service is at {service.realm.origin}, and no password is sent there over plain http"
        raise ProtocolViolation(service.registry.origin, reason)
    exchange = _Exchange(send, service, credentials, host)
    if credentials is not None and credentials.identity_token is not None:
        return exchange.post(scopes, {"grant_type": "refresh_token", "refresh_token": credentials.identity_token})
    return exchange.get(scopes)


def basic(credentials: Credentials | None) -> str | None:
    """Give the header of Basic authentication (RFC 7617); None without a password to show."""
    if credentials is None or not (credentials.username or credentials.password):
        return None
    if credentials.identity_token is not None and not credentials.password:
        return None  # a refresh token is for the token service alone (scope.md#refresh-tokens)
    return f"Basic {b64encode(_pair(credentials)).decode()}"


def _pair(credentials: Credentials) -> bytes:
    # Bytes of a file that are not UTF-8 were read as surrogates, and become the same bytes again.
    return f"{credentials.username}:{credentials.password}".encode("utf-8", "surrogateescape")


class _Exchange:
    """Asking one service once: GET or POST, through redirects within it."""

    def __init__(self, send: Send, service: Service, credentials: Credentials | None, host: str) -> None:
        self._send, self._service, self._credentials, self._host = send, service, credentials, host
        self._place = service.realm.public
        self._what = ""

    def get(self, scopes: Sequence[Scope]) -> Token:
        self._what = _names(scopes)
        user = self._credentials.username if self._credentials is not None else ""
        pairs = [("account", user)] if user else []
        pairs += [("service", self._service.service)] if self._service.service else []
        pairs += [("scope", str(scope)) for scope in scopes]
        target = self._service.realm.target
        if pairs:
            target += ("&" if "?" in target else "?") + _encode(pairs)
        header = basic(self._credentials)
        headers = {} if header is None else {"Authorization": header}
        status, raw = self._ask("GET", self._service.realm.replace(target=target), headers, None)
        if status in (404, 405, 501) and header is not None:
            assert self._credentials is not None
            form = {"grant_type": "password", "username": user, "password": self._credentials.password}
            return self.post(scopes, form, otherwise=(status, raw))
        return self._token(status, raw)

    def post(
        self, scopes: Sequence[Scope], form: Mapping[str, str], *, otherwise: tuple[int, bytes] | None = None
    ) -> Token:
        """Post a form; where the service knows no POST, the answer `otherwise` counts."""
        self._what = _names(scopes)
        pairs = [*form.items(), ("service", self._service.service), ("client_id", CLIENT_ID)]
        if scopes:
            pairs.append(("scope", " ".join(str(scope) for scope in scopes)))
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        status, raw = self._ask("POST", self._service.realm, headers, _encode(pairs).encode())
        if status in (404, 405, 501) and otherwise is not None:
            status, raw = otherwise
        return self._token(status, raw)

    def _ask(self, method: str, url: Url, headers: Mapping[str, str], body: bytes | None) -> tuple[int, bytes]:
        length = None if body is None else len(body)
        seen: list[str] = []
        while True:
            with self._send(
                method, str(url), headers={"Accept": "application/json", **headers}, body=body, length=length
            ) as response:
                if response.status in REDIRECTS and (method == "GET" or response.status in (307, 308)):
                    seen.append(str(url))
                    url = self._next(url, response.headers.get("Location"), seen)
                    response.discard()
                    continue
                if response.status == 200:
                    return 200, response.read(MAX_ANSWER, "token service's answer")
                return response.status, response.glance(MAX_ANSWER)

    def _next(self, url: Url, location: str | None, seen: Sequence[str]) -> Url:
        target = follow(url, location, registry=self._service.realm, seen=seen)
        if len(seen) > MAX_REDIRECTS:
            raise ProtocolViolation(self._place, f"the token service redirects more than {MAX_REDIRECTS} times")
        if target.origin != self._service.realm.origin:
            reason = f"the token service redirects to another host ({target.location}); not followed"
            raise ProtocolViolation(self._place, reason)
        return target

    # Reading the answer

    def _token(self, status: int, raw: bytes) -> Token:
        if status != 200:
            raise self._refused(status, raw)
        try:
            value = loads(raw, document="its answer", limit=MAX_ANSWER)
        except (InvalidDocument, LimitExceeded) as error:
            reason = error.reason if isinstance(error, InvalidDocument) else str(error)
            raise ProtocolViolation(self._place, f"the token service's answer is no token: {reason}") from None
        if not isinstance(value, dict):
            raise ProtocolViolation(self._place, "the token service's answer is no token: not a JSON object")
        token = next((value[name] for name in ("token", "access_token") if value.get(name)), None)
        if not isinstance(token, str):
            raise ProtocolViolation(self._place, "the token service's answer has no token in it")
        if len(token) > MAX_TOKEN:
            raise ProtocolViolation(self._place, f"the token service gives a token of {len(token)} characters")
        if not (token.isascii() and token.isprintable() and " " not in token):
            raise ProtocolViolation(self._place, "the token service gives a token with characters that no token has")
        return Token(value=token, lasts=_usable_for(value.get("expires_in")))

    def _refused(self, status: int, raw: bytes) -> Exception:
        said = self._words(raw)
        answer = f"no token{self._what}: the token service answers {status}{f' ({said})' if said else ''}"
        if may_pass(status):
            return NotReached(self._place, answer)  # of the request that wants the token, nothing was done
        if status in (400, 401, 403, 406):  # 400: RFC 6749 section 5.2; 406: Artifactory, of nobody
            return AuthenticationFailed(
                self._place, f"{answer}; {self._advice()}", status=403 if status == 403 else 401
            )
        return RegistryRefused(self._place, answer, status=status)

    def _advice(self) -> str:
        login = f"`ocikit login {show(canonical(self._host))}`"
        if self._credentials is None:
            return f"it may want credentials: {login}"
        return f"the credentials may be wrong, or too old: {login}"

    def _words(self, raw: bytes) -> str:
        """What a refusal says, unless a secret of ours is in it: some services repeat what they were sent."""
        said = "; ".join(str(fault) for fault in parse_errors(raw[:MAX_ERROR]))
        if self._credentials is not None:
            password, token = self._credentials.password, self._credentials.identity_token
            if tells(said, (password, token or "", b64encode(_pair(self._credentials)).decode())):
                return ""
        return said


def _names(scopes: Sequence[Scope]) -> str:
    names = " and ".join(show(scope.repository) for scope in scopes)
    return f" for {names}" if names else ""


def _usable_for(expires_in: object) -> float:
    """For how many seconds a token may be used, by `expires_in`; odd values are as good as none."""
    seconds = LASTS
    if isinstance(expires_in, str) and expires_in.isascii() and expires_in.isdigit() and len(expires_in) < 12:
        expires_in = int(expires_in)
    if isinstance(expires_in, int | float):
        seconds = int(min(max(expires_in, LASTS), LONGEST))
    return seconds - min(MARGIN, seconds / 5)


def _encode(pairs: Sequence[tuple[str, str]]) -> str:
    # ":" and "," stand as they are: RFC 3986 allows it, and logs of token services stay readable.
    return "&".join(f"{name}={quote_plus(value, safe=':,/*', errors='surrogateescape')}" for name, value in pairs)
