"""Authorization for one registry: which way it wants, and tokens that are kept (docs/spec/auth of distribution).

Anonymous first: nothing is sent before the registry asked. A challenge `Basic` is met with the user's password,
`Bearer` with a token from the service that `realm` names (`token`). From then on each request is given its header
beforehand.

Tokens are kept by what they are for, and serve every request that needs no more. One that needs more gets a wider
token, which replaces the narrow one. A token is renewed a little before it runs out, and once when the registry turns
it down. Whoever comes while one is being fetched waits for it: eight requests at once ask for one token.

Nothing here repeats a request; how often `learn` is asked is bounded by the client.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from oci.auth.challenge import Challenge, parse_challenges
from oci.auth.scope import Scope, merge, parse_scopes
from oci.auth.token import Service, Token, basic, fetch
from oci.errors import AuthenticationFailed, RegistryError
from oci.spec.record import Record

if TYPE_CHECKING:
    from oci.auth.credential import Credentials
    from oci.http.exchange import Headers, Response

__all__ = ["Authorizer"]

MAX_TOKENS = 1000  # kept at a time: one for each repository of a copy of many; the oldest go

_Key = tuple[tuple[str, str], ...]  # the resources that scopes are about


class _Basic(Record):
    """The registry wants user name and password."""


class _Kept(Record):
    """A token, what it is for, and until when it is good by the clock of the Authorizer."""

    scopes: tuple[Scope, ...]
    token: Token
    until: float

    @property
    def header(self) -> str:
        return f"Bearer {self.token.value}"


class Authorizer:
    """What one registry wants to see, and what we have. Threads may share it.

    `find` gives the credentials for a repository (None: for the registry as a whole), `http_send` sends a request
    without credentials of its own, `base_url` is the registry's SCHEME://HOST[:PORT].
    """

    def __init__(
        self,
        host: str,
        find: Callable[[str | None], Credentials | None],
        http_send: Callable[..., Response],
        *,
        base_url: str,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._host, self._find, self._send, self._base, self._clock = host, find, http_send, base_url, clock
        self._lock = threading.Lock()
        self._fetching: dict[_Key, threading.Lock] = {}
        self._ways: dict[_Key, _Basic | Service] = {}  # what each repository asked for
        self._way: _Basic | Service | None = None  # what was asked for last: a repository never asked is the same
        self._kept: dict[_Key, _Kept] = {}
        self._pinged = False

    def __repr__(self) -> str:
        return f"Authorizer({self._host!r})"

    # What the client asks

    def header(self, scopes: Sequence[Scope]) -> str | None:
        """Give the Authorization header for a request that needs `scopes`; None where the registry asked for none.

        May fetch a token: raises AuthenticationFailed, ConnectionFailed or ProtocolViolation.
        """
        wanted = merge(tuple(scopes))
        with self._lock:
            way = self._ways.get(_key(wanted), self._way)
        if way is None:
            return None
        if isinstance(way, _Basic):
            return basic(self._credentials(wanted))
        return self._token(way, wanted).header

    def learn(self, response_headers: Headers, scopes: Sequence[Scope], *, refused: str | None) -> bool:
        """Take in the challenge of a 401 to a request that carried `refused`; False: nothing more to try.

        After True, `header` gives something else than what was refused. Raises as `header` does.
        """
        wanted = merge(tuple(scopes))
        challenges = parse_challenges(response_headers.all("WWW-Authenticate"))
        if not _usable(challenges):
            challenges = self._ping()
        bearer = next((one for one in challenges if one.scheme == "bearer" and "realm" in one.params), None)
        takes_basic = any(one.scheme == "basic" for one in challenges)
        if bearer is not None:
            try:
                self._learn_bearer(bearer, wanted, refused)
            except AuthenticationFailed:
                if not (takes_basic and self._learn_basic(wanted, refused)):
                    raise
            return True
        return takes_basic and self._learn_basic(wanted, refused)

    def offer(self) -> None:
        """Show the credentials before the registry asks: to check a login with one that lets anybody in."""
        self._settle((), _Basic())

    # The two ways

    def _learn_basic(self, wanted: tuple[Scope, ...], refused: str | None) -> bool:
        header = basic(self._credentials(wanted))
        if header is None or header == refused:
            return False
        self._settle(wanted, _Basic())
        return True

    def _learn_bearer(self, challenge: Challenge, wanted: tuple[Scope, ...], refused: str | None) -> None:
        service = Service.of(challenge.params, asked_by=self._base)
        self._forget(refused)
        self._settle(wanted, service)
        # The registry may want more actions than we knew of. What it wants with other repositories is its own affair:
        # no stranger gets a token for them through us.
        ours = {scope.resource for scope in wanted}
        asked = parse_scopes(challenge.params.get("scope", ""))
        wanted = merge(wanted, tuple(scope for scope in asked if scope.resource in ours))
        self._token(service, wanted)

    def _settle(self, wanted: tuple[Scope, ...], way: _Basic | Service) -> None:
        with self._lock:
            self._way = way
            self._ways.pop(_key(wanted), None)
            self._ways[_key(wanted)] = way
            while len(self._ways) > MAX_TOKENS:
                del self._ways[next(iter(self._ways))]

    def _ping(self) -> tuple[Challenge, ...]:
        """Ask the registry's front door, once: gcr.io answered 401 without a challenge elsewhere.

        https://github.com/containers/image/pull/211
        """
        with self._lock:
            if self._pinged:
                return ()
            self._pinged = True
        try:
            with self._send("GET", f"{self._base}/v2/") as response:
                asked = response.headers.all("WWW-Authenticate") if response.status == 401 else []
                response.discard()
        except RegistryError:
            return ()  # the 401 that is there already is the better error
        return parse_challenges(asked)

    # Tokens

    def _token(self, service: Service, wanted: tuple[Scope, ...]) -> _Kept:
        kept = self._covering(wanted)
        if kept is not None:
            return kept
        key = _key(wanted)
        with self._lock:
            only_one = self._fetching.setdefault(key, threading.Lock())
        with only_one:
            kept = self._covering(wanted)
            if kept is not None:
                return kept
            with self._lock:
                narrow = self._kept.get(key)
            wider = merge(wanted, narrow.scopes) if narrow is not None else wanted
            start = self._clock()
            token = fetch(self._send, service, wider, self._credentials(wanted), host=self._host)
            made = _Kept(scopes=wider, token=token, until=start + token.lasts)
            with self._lock:
                self._kept.pop(key, None)
                self._kept[key] = made
                while len(self._kept) > MAX_TOKENS:
                    del self._kept[next(iter(self._kept))]
            return made

    def _covering(self, wanted: tuple[Scope, ...]) -> _Kept | None:
        """Give a token that is good for all of these, and for a while yet."""
        now = self._clock()
        with self._lock:
            exact = self._kept.get(_key(wanted))
            if exact is not None and exact.until > now and _covers(exact.scopes, wanted):
                return exact
            good = (kept for kept in self._kept.values() if kept.until > now and _covers(kept.scopes, wanted))
            return next(good, None)

    def _forget(self, refused: str | None) -> None:
        """Drop the token that was turned down; one that another thread has got meanwhile stays."""
        with self._lock:
            for key in [key for key, kept in self._kept.items() if kept.header == refused]:
                del self._kept[key]

    def _credentials(self, wanted: tuple[Scope, ...]) -> Credentials | None:
        # Asked each time: what a helper gives may be good for an hour only, and a copy of many takes longer.
        return self._find(next((scope.repository for scope in wanted if scope.kind == "repository"), None))


def _usable(challenges: Sequence[Challenge]) -> bool:
    return any(one.scheme in ("basic", "bearer") for one in challenges)


def _key(scopes: Sequence[Scope]) -> _Key:
    return tuple(scope.resource for scope in scopes)


def _covers(have: Sequence[Scope], wanted: Sequence[Scope]) -> bool:
    given = {scope.resource: set(scope.actions) for scope in have}
    return all(
        scope.resource in given and ("*" in given[scope.resource] or given[scope.resource].issuperset(scope.actions))
        for scope in wanted
    )
