"""A registry's error answers as our errors (distribution-spec v1.1.1 spec.md#error-codes).

The body of an error answer is JSON with a list of codes and messages; proxies and storages before and behind a registry
answer in HTML, XML or plain text. All of it is a stranger's text: read up to a limit, and shown short, printable and on
one line. XML is never shown: storages put signed requests into it.
"""

from __future__ import annotations

import binascii
import contextlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from oci.errors import (
    AuthenticationFailed,
    InvalidDocument,
    LimitExceeded,
    RegistryError,
    RegistryRefused,
    show,
)
from oci.http.retry import retry_after
from oci.spec.record import Record
from oci.spec.reference import canonical
from oci.spec.wire import loads

if TYPE_CHECKING:
    from oci.http.exchange import Response

__all__ = ["MAX_ERROR", "MAX_ERRORS", "Fault", "body_of", "error_of", "parse_errors", "repeats", "tells"]

MAX_ERROR = 65536  # bytes of an error answer; real ones have some hundred, pages of proxies some thousand
SOON = 5.0  # seconds for it; the status is there already
MAX_ERRORS = 5  # errors of one answer that are told; real answers have one

_TELLING = range(4, 13)  # bytes of a secret that give it away; fewer stand in any text, by chance

_WHOLE = ("/v2/", "/v2/_catalog")  # where questions about no repository go


class Fault(Record):
    """One error of an answer: its code (upper case, may be empty) and the registry's words."""

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.code and self.message else self.code or self.message


def parse_errors(raw: bytes) -> tuple[Fault, ...]:
    """Read an error answer; what is no such JSON gives none.

    Read with lenience: `message` is optional by the spec, `detail` is anything, and some servers send `error` or
    `errors` of another shape (token services: spec of OAuth 2.0, RFC 6749 section 5.2).
    """
    try:
        value = loads(raw, document="error answer", limit=MAX_ERROR)
    except (InvalidDocument, LimitExceeded):
        return ()
    if not isinstance(value, dict):
        return ()
    errors = value.get("errors")
    if not isinstance(errors, list):
        code, words = value.get("error"), value.get("error_description", value.get("message", value.get("details")))
        errors = [{"code": code if isinstance(code, str) else "", "message": words}] if code or words else []
    found = []
    for item in errors[:MAX_ERRORS]:
        if not isinstance(item, dict):
            continue
        code, message = item.get("code"), item.get("message")
        fault = Fault(
            code=_brief(code, 60).upper() if isinstance(code, str) else "",
            message=_brief(message, 300) if isinstance(message, str) else "",
        )
        if fault.code or fault.message:
            found.append(fault)
    return tuple(found)


def error_of(
    response: Response,
    *,
    what: str,
    host: str,
    foreign: str | None = None,
    known: bool = False,
    raw: bytes | None = None,
) -> RegistryError:
    """Make the error for an answer that was not expected, and be done with the answer.

    `what` is what was asked for ("manifest a/b:v1"), `host` the registry's name as `ocikit login` takes it; `foreign`
    the other host that answered after a redirect, whose words are not shown. `known`: credentials were found. `raw` is
    the answer's body, if it was read before.
    """
    raw = body_of(response) if raw is None else raw
    if response.status == 407:
        raw = b""  # a proxy's words, which may repeat the password that it was sent
    faults = parse_errors(raw) if foreign is None else ()
    said = "; ".join(str(fault) for fault in faults)
    if not said and foreign is None:
        said = _plain(raw, response.headers.get("Content-Type", "") or "")
    if response.status == 429:
        said = "; ".join(part for part in (said, _limits(response)) if part)
    who = (
        "the proxy"
        if response.status == 407
        else "the registry"
        if foreign is None
        else f"{foreign}, where it redirects to,"
    )
    answer = f"{who} answers {response.status}{f' ({said})' if said else ''}"
    codes = tuple(fault.code for fault in faults if fault.code)
    whole = response.place.endswith(_WHOLE)
    reason = f"{what}: {answer}{_advice(response.status, codes, host, foreign, known, whole)}"
    if response.status in (401, 403) and foreign is None:
        return AuthenticationFailed(response.place, reason, status=response.status)
    return RegistryRefused(response.place, reason, status=response.status, codes=codes)


def body_of(response: Response) -> bytes:
    """Read what an error answer says; no failure in it hides the status."""
    return response.glance(MAX_ERROR, SOON)


def repeats(raw: bytes, authorization: str | None) -> bool:
    """Say whether an answer repeats the credentials that were sent: such words are not for logs, nor in part."""
    if authorization is None:
        return False
    scheme, _, word = authorization.partition(" ")
    secrets = [word.encode()]
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error):
            secrets.append(binascii.a2b_base64(word).partition(b":")[2])
    text = raw.replace(b"\\", b"")  # JSON may have escaped quotes and slashes
    begins = [secret.replace(b"\\", b"")[: _TELLING[-1]] for secret in secrets]
    if any(len(begin) in _TELLING and begin in text for begin in begins):
        return True
    said = "; ".join(str(fault) for fault in parse_errors(raw))  # Go writes \u003c for "<", others more
    return tells(said, (secret.decode("utf-8", "replace") for secret in secrets if len(secret) >= _TELLING[0]))


def tells(said: str, secrets: Iterable[str]) -> bool:
    """Say whether words of an answer repeat a secret, as it is or as a form has it.

    Words are shown cut, in capitals, and with other blanks: the secret's beginning is enough.
    """
    found = (_bare(said), _bare(unquote_plus(said)))
    begins = (_bare(show(secret[:40]))[:8] for secret in secrets)
    return any(begin and any(begin in words for words in found) for begin in begins)


def _bare(text: str) -> str:
    return "".join(text.split()).casefold()


def _advice(status: int, codes: tuple[str, ...], host: str, foreign: str | None, known: bool, whole: bool) -> str:
    """Say what to do, where there is something; `whole`: the question was about no repository."""
    if foreign is not None:
        return ""
    host = canonical(host)
    if status == 401:
        absent = "" if whole else "there may be no such repository, or "
        return (
            f"; {absent}{'the credentials are not right' if known else 'it wants credentials'}: `ocikit login {host}`"
        )
    if status == 403:
        return "" if known else f"; it may want credentials: `ocikit login {host}`"
    if status == 404 and "NAME_UNKNOWN" in codes:
        return "; there is no such repository"
    if status == 429:
        return "" if known else f"; credentials may raise the limit: `ocikit login {host}`"
    if status == 413:
        return "; it, or a proxy before it, takes nothing so large"
    return ""


def _limits(response: Response) -> str:
    """Say what a rate limit's headers say: Docker Hub's `RateLimit-Limit: 100;w=21600`, and Retry-After."""
    parts = []
    for name, words in (("ratelimit-limit", "limit"), ("ratelimit-remaining", "remaining")):
        found = re.fullmatch(r"([0-9]{1,12})(?:;w=([0-9]{1,9}))?", response.headers.get(name, "") or "")
        if found:
            window = f" in {_span(int(found[2]))}" if found[2] and words == "limit" else ""
            parts.append(f"{words} {found[1]}{window}")
    wait = retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
    if wait:
        parts.append(f"to be tried again in {_span(int(wait))}")
    return ", ".join(parts)


def _span(seconds: int) -> str:
    for size, name in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds} seconds"


def _plain(raw: bytes, kind: str) -> str:
    """Give the one line that says something in an answer that is not the spec's: plain text, or the title of a page."""
    text = raw[:4096].decode("utf-8", "replace")
    if "html" in kind.lower() or text.lstrip()[:15].lower().startswith(("<!doctype html", "<html")):
        found = re.search(r"<title>([^<]{1,200})</title>", text, re.IGNORECASE)
        return _brief(found[1], 200) if found else ""
    if "text/plain" in kind.lower():
        return _brief(text.strip().partition("\n")[0], 200)
    return ""


def _brief(text: str, length: int) -> str:
    text = " ".join(text.split())
    return show(text if len(text) <= length else f"{text[: length - 1]}…")
