"""One registry: scheme, credentials, redirects, retries and errors in one call.

https comes first. Plain http is tried after it for hosts on this machine, for endpoints marked `insecure`, and where it
was asked for; never after a certificate that is not trusted. What the first request found is kept.

A secret goes to the registry's own origin (scheme, host and port) alone: after a redirect elsewhere none is sent, also
not when a further one leads back. Errors name the URL that was asked for, never the one a redirect led to, which may be
a secret in itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from time import monotonic, sleep
from typing import TYPE_CHECKING, Self

from oci.errors import ConnectionFailed, InvalidReference, ProtocolViolation, RegistryError, show
from oci.http.exchange import Http, NotReached, NotTrusted, Response
from oci.http.redirects import REDIRECTS, check_target, follow
from oci.http.responses import body_of, error_of, repeats
from oci.http.retry import Backoff, is_idempotent, may_pass, retry_after
from oci.http.urls import Url, is_loopback_name, parse_url
from oci.http.warnings import Heard, parse_warnings

if TYPE_CHECKING:
    from oci.auth.authorizer import Authorizer
    from oci.auth.credential import Credentials
    from oci.auth.scope import Scope
    from oci.registry.settings import Settings

__all__ = ["Body", "Client"]

Body = bytes | Callable[[], Iterable[bytes]] | None

MAX_CHALLENGES = 2  # 401s answered with a token for one try: anonymous first, then a token that was too narrow or old
SLOW = 5.0  # seconds of a wait, for an answer or for the next try, from which on it is told
FRESH = 2  # tries to reach a host that never answered: a name that was misspelt should not take half a minute


class Client:
    """A registry at HOST[:PORT], as references name it. Threads may share it.

    `insecure`: certificates are not checked, and http is taken where https isn't spoken. An `http` that is given is
    shared, and stays open.
    """

    def __init__(self, host: str, settings: Settings, *, insecure: bool = False, http: Http | None = None) -> None:
        self.host, self.settings = host, settings
        self._http, self._own = (http, False) if http is not None else (Http(settings), True)
        self._https = _host_url(host)
        schemes = ["https"]
        wanted = settings.plain_http
        if wanted is not False and (wanted or insecure or is_loopback_name(self._https.host)):
            schemes.append("http")
        self._insecure = insecure
        self._bases = [parse_url(f"{scheme}://{host}") for scheme in schemes]
        self._base: Url | None = self._bases[0] if len(self._bases) == 1 else None
        self._lock = threading.Lock()
        self._authorizer: Authorizer | None = None
        self._heard = settings.heard if settings.heard is not None else Heard()
        self.known = False  # credentials for this registry were found
        self.reached = False  # it has answered, whatever

    def __repr__(self) -> str:
        return f"Client({self.host!r})"

    def request(
        self,
        method: str,
        path_or_url: str,
        *,
        scopes: Sequence[Scope] = (),
        headers: Mapping[str, str] = {},
        body: Body = None,
        length: int | None = None,
        expect: Container[int] = (200,),
        retry: bool | None = None,
        what: str,
    ) -> Response:
        """Send a request to the registry and give its answer, the status of which is in `expect`.

        `path_or_url` is a path ("/v2/…") or a URL that the registry gave (Location, Link). `body` is bytes, or a
        function that opens it anew for each try. `what` names what is asked for in messages: "manifest a/b:v1".

        `retry` says whether the request may happen twice; None: GET, HEAD, PUT and DELETE may, POST and PATCH not. (A
        repeated DELETE may be answered 404, and so may a repeated PUT that ends an upload: pass False for the latter.)
        What certainly did not happen (no connection, 429) is tried again in any case.

        An answer of redirection is followed unless `expect` has its status. Raises AuthenticationFailed,
        RegistryRefused, ConnectionFailed or ProtocolViolation; an answer is the caller's to close.
        """
        job = _Job(self, method, path_or_url, scopes, headers, body, length, expect, what)
        again = is_idempotent(method) if retry is None else retry
        backoff = self.backoff()
        while True:
            begun = monotonic()
            try:
                response = job.once()
            except ConnectionFailed as error:
                pause = self._pause_after(error, backoff, again)
                if pause is None:
                    raise
                self._tell(what, error.reason, pause, monotonic() - begun)
            else:
                status = response.status
                if status in expect:
                    return response
                asked = retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
                pause = None
                if may_pass(status) and (again or status == 429):
                    pause = backoff.pause(asked)
                if pause is None:
                    raise job.error(response)
                response.discard()
                self._tell(what, f"the registry answers {status}", pause, monotonic() - begun)
            backoff.wait(pause)

    def _pause_after(self, error: ConnectionFailed, backoff: Backoff, again: bool) -> float | None:
        if isinstance(error, NotReached):
            again = self.reached or backoff.tried < FRESH
        return backoff.pause() if again and error.again else None

    def _tell(self, what: str, reason: str, pause: float, waited: float) -> None:
        if self.settings.warn is not None and max(pause, waited) >= SLOW:
            when = f" in {pause:.0f} seconds" if pause >= SLOW else ""
            self.settings.warn(f"{show(what)}: {reason}; trying again{when}")

    def backoff(self) -> Backoff:
        """Give the waits of one thing that is tried `settings.attempts` times."""
        return Backoff(max(1, self.settings.attempts), self.wait)

    def hear(self, response: Response, authorization: str | None) -> None:
        """Tell what the registry warns of, unless it repeats credentials; nothing else comes of it."""
        if self.settings.warn is None:
            return
        for text in parse_warnings(response.headers.all("Warning")):
            line = None if repeats(text.encode(), authorization) else self._heard.new(self.host, text)
            if line is not None:
                self.settings.warn(line)

    def wait(self, seconds: float) -> None:
        """Sleep, unless `close` ends it: a thread that waits for a server must not keep an interrupted command."""
        if self.settings.sleep is not sleep:
            self.settings.sleep(seconds)
        elif self._http.closing.wait(seconds):
            raise ConnectionFailed(f"https://{self.host}", "closed by us", again=False)

    # Scheme

    def send_first(self, send: Callable[[Url, bool], Response]) -> Response:
        """Send to the registry's base URL; the first answer settles which that is."""
        base = self._base
        if base is not None:
            return send(base, False)
        with self._lock:
            if self._base is not None:
                return send(self._base, False)
            refused: list[NotReached] = []
            for number, base in enumerate(self._bases):
                last = number == len(self._bases) - 1
                try:
                    response = send(base, not last)
                except NotTrusted:
                    raise
                except NotReached as error:
                    refused.append(error)
                    continue
                self._base = base
                return response
        first, second = refused
        if first.reason == second.reason:
            raise first
        reason = f"{first.reason.partition(';')[0]}; over plain http: {second.reason}"
        raise NotReached(first.url, reason, again=first.again or second.again)

    @property
    def base(self) -> Url:
        """The registry's base URL, as far as it is known."""
        return self._base if self._base is not None else self._bases[0]

    # Credentials

    def authorizer(self) -> Authorizer:
        """Give what knows the tokens of this registry."""
        with self._lock:
            if self._authorizer is None:
                from oci.auth.authorizer import Authorizer

                self._authorizer = Authorizer(
                    self.host,
                    self._find,
                    self._send_to_service,
                    base_url=self.base.origin,
                    clock=monotonic,
                )
            return self._authorizer

    def authorization(self, scopes: Sequence[Scope]) -> str | None:
        """Give the Authorization header for a request: none before the registry has asked for one."""
        return None if self._authorizer is None else self._authorizer.header(scopes)

    def _find(self, repository: str | None) -> Credentials | None:
        source = self.settings.credentials
        found = source.find(self.host, repository) if source is not None else None
        self.known = self.known or found is not None
        return found

    def _send_to_service(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes | Iterable[bytes] | None = None,
        length: int | None = None,
    ) -> Response:
        """Send to the token service. A registry elsewhere names none on this machine, by whatever name."""
        place, home = parse_url(url), self.base
        far = place.origin != home.origin and not (is_loopback_name(home.host) or self._http.is_here(home))
        return self.exchange(method, place, headers, body, length, far=far, hurry=False)

    def exchange(
        self,
        method: str,
        url: Url,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        length: int | None,
        *,
        far: bool,
        hurry: bool,
    ) -> Response:
        """Send one request, without anything of the above."""
        insecure = self._insecure and any(url.origin == base.origin for base in self._bases)
        return self._http.exchange(
            method, url, headers=headers, body=body, length=length, far=far, hurry=hurry, insecure=insecure
        )

    def close(self) -> None:
        """End all connections, unless they are shared."""
        if self._own:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _host_url(host: str) -> Url:
    try:
        url = parse_url(f"https://{host}")
    except ProtocolViolation as error:
        raise InvalidReference(host, error.reason) from None
    if url.target != "/" or host.endswith(("/", "?", "#")):
        raise InvalidReference(host, "a registry is HOST[:PORT]")
    return url


class _Job:
    """One request through all its tries."""

    def __init__(
        self,
        client: Client,
        method: str,
        path_or_url: str,
        scopes: Sequence[Scope],
        headers: Mapping[str, str],
        body: Body,
        length: int | None,
        expect: Container[int],
        what: str,
    ) -> None:
        self._client, self._method, self._path_or_url = client, method, path_or_url
        self._scopes, self._headers, self._body = scopes, headers, body
        self._length = len(body) if isinstance(body, bytes) and length is None else length
        self._expect, self._what = expect, what
        self._asked: Url | None = None  # the registry's own URL, which errors name
        self._at: Url | None = None  # the URL that answered last
        self._said: str | None = None  # the credentials that were sent last

    def once(self) -> Response:
        """Try once: with a token where one is wanted, and through redirects."""
        for _ in range(MAX_CHALLENGES):
            header = self._said = self._client.authorization(self._scopes)
            response = self._through_redirects(header)
            self._client.reached = True  # whatever becomes of the token
            if response.status != 401 or not self._is_home(self._at) or 401 in self._expect:
                return response
            raw = body_of(response)  # its connection is wanted for the next try
            authorizer = self._client.authorizer()
            if not authorizer.learn(response.headers, self._scopes, refused=header):
                raise self.error(response, raw)
        self._said = self._client.authorization(self._scopes)
        return self._through_redirects(self._said)

    def _is_home(self, url: Url | None) -> bool:
        return url is not None and url.origin == self._client.base.origin

    def _through_redirects(self, authorization: str | None) -> Response:
        response = self._start(authorization)
        url = self._at
        seen: list[str] = []
        home = self._is_home(url)
        if home:
            self._client.hear(response, authorization)
        while response.status in REDIRECTS and response.status not in self._expect:
            assert url is not None
            seen.append(str(url))
            status, location = response.status, response.headers.get("Location")
            response.discard()
            if self._method not in ("GET", "HEAD") and status not in (307, 308):
                reason = f"{self._what}: a redirect ({status}) of a {self._method}, which would make it a GET"
                raise ProtocolViolation(self._place(), reason)
            url = self._target(url, location, seen)
            home = home and self._is_home(url)  # once away, a redirect back gets no secret either
            response = self._hop(url, authorization if home else None)
            if home:
                self._client.hear(response, authorization)
        response.place = self._place()
        return response

    def _target(self, url: Url, location: str | None, seen: Collection[str]) -> Url:
        try:
            return follow(url, location, registry=self._client.base, seen=seen)
        except ProtocolViolation as error:
            raise ProtocolViolation(self._place(), f"{self._what}: {error.reason}") from None

    def _start(self, authorization: str | None) -> Response:
        if self._path_or_url.startswith("/"):
            return self._client.send_first(lambda base, hurry: self._send(self._join(base), authorization, hurry))
        url = parse_url(self._path_or_url)
        if self._is_home(url):
            return self._send(url, authorization, False)
        check_target(self._client.base, url, registry=self._client.base)
        self._asked = self._client.base.replace(target="/")
        return self._hop(url, None)

    def _join(self, base: Url) -> Url:
        return parse_url(base.origin + self._path_or_url)

    def _send(self, url: Url, authorization: str | None, hurry: bool) -> Response:
        """Ask the registry itself."""
        self._asked = self._at = url
        return self._exchange(url, authorization, far=False, hurry=hurry)

    def _hop(self, url: Url, authorization: str | None) -> Response:
        """Ask where the registry sent us; failures there are told as the registry's."""
        self._at = url
        far = not self._is_home(url) and not is_loopback_name(self._client.base.host)
        try:
            return self._exchange(url, authorization, far=far, hurry=False)
        except ConnectionFailed as error:
            raise type(error)(self._place(), f"{url.location}: {error.reason}", again=error.again) from None
        except ProtocolViolation as error:
            raise ProtocolViolation(self._place(), f"{url.location}: {error.reason}") from None

    def _exchange(self, url: Url, authorization: str | None, *, far: bool, hurry: bool) -> Response:
        headers = dict(self._headers)
        if authorization is not None:
            headers["Authorization"] = authorization
        body = self._body if self._body is None or isinstance(self._body, bytes) else self._body()
        return self._client.exchange(self._method, url, headers, body, self._length, far=far, hurry=hurry)

    def _place(self) -> str:
        return (self._asked or self._client.base).public

    def error(self, response: Response, raw: bytes | None = None) -> RegistryError:
        """Make the error that an answer stands for; `raw` is its body, where that was read."""
        response.place = self._place()
        raw = body_of(response) if raw is None else raw
        if repeats(raw, self._said):
            raw = b""
        foreign = None if self._at is None or self._is_home(self._at) else self._at.location
        host, known = self._client.host, self._client.known
        return error_of(response, raw=raw, what=self._what, host=host, foreign=foreign, known=known)
