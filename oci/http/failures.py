"""Why a connection failed, in words: from exceptions of sockets, TLS and `http.client` to our errors.

None of an exception's own text is passed on where it could hold a URL or a header; the rest is shortened and printable.
"""

from __future__ import annotations

import socket
from http.client import BadStatusLine, HTTPException, IncompleteRead, LineTooLong, RemoteDisconnected

from oci.errors import ConnectionFailed, ProtocolViolation, show

__all__ = ["NotReached", "NotTrusted", "broken", "is_untrusted", "not_reached"]


class NotReached(ConnectionFailed):
    """No connection: nothing of the request was sent, so that any request may be sent again."""


class NotTrusted(NotReached):
    """A connection without trust: the certificate that was shown is refused, or one of ours is wanted."""


# What OpenSSL says when it reads "HTTP/1.1 400 Bad Request" for a handshake, by version.
_PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH")

# What to do where no authority in certs.d would help, by OpenSSL's X509_V_ERR_… (verify(1)).
_UNMENDABLE = {
    9: "it is not valid yet: compare this machine's clock",
    10: "it has to be renewed (if this machine's clock is right)",
    62: "use a name that it is for",
    64: "use a name that it is for",
}


def is_untrusted(error: BaseException) -> bool:
    """Say whether a certificate was refused here. (By name: `ssl` is imported where TLS is spoken.)"""
    return type(error).__name__ == "SSLCertVerificationError"


def not_reached(
    cause: BaseException, *, place: str, location: str, proxy: str | None, seconds: float | None
) -> NotReached:
    """Say why there is no connection to `place`, whose HOST[:PORT] is `location`, after at most `seconds`."""
    reason, again, trusted = _unreached(cause, location, seconds)
    kind = NotReached if trusted else NotTrusted
    return kind(place, reason if proxy is None else f"through the proxy {proxy}: {reason}", again=again)


def _unreached(cause: BaseException, location: str, seconds: float | None) -> tuple[str, bool, bool]:
    """Give the reason, whether it may pass, and whether it is no matter of trust."""
    if is_untrusted(cause):
        said = str(getattr(cause, "verify_message", "")).rstrip(".") or "it can't be verified"
        what = _UNMENDABLE.get(getattr(cause, "verify_code", None) or 0)
        what = what or f"put the authority that signed it into /etc/containers/certs.d/{location}/ca.crt"
        return f"its certificate is not trusted: {said}; {what}, or give --tls-verify=false", False, False
    if _is_tls(cause):
        return _without_tls(str(getattr(cause, "reason", None) or "no reason given"))
    if isinstance(cause, TimeoutError):
        return f"no connection within {seconds:g} seconds" if seconds else "no connection in time", True, True
    if isinstance(cause, socket.gaierror):
        said = str(cause.strerror or "unknown").lower()
        return f"the name can't be resolved: {said}", cause.errno == socket.EAI_AGAIN, True
    if "Tunnel connection failed" in str(cause):
        # Its words are left out: some repeat what they were sent, and that is a password.
        return f"the proxy refuses: {show(str(cause).rpartition('failed: ')[2].partition(' ')[0])}", False, True
    if isinstance(cause, HTTPException) and not isinstance(cause, RemoteDisconnected):
        return "an answer that breaks HTTP", False, True
    if isinstance(cause, OSError):
        return f"no connection: {(cause.strerror or 'it was closed at once').lower()}", True, True
    return "no connection: the name or the proxy can't be used", False, True


def _is_tls(error: BaseException) -> bool:
    return type(error).__module__ == "ssl" or type(error).__name__.startswith("SSL")


def _without_tls(reason: str) -> tuple[str, bool, bool]:
    """Say why TLS did not come about, in words for the cases that people meet."""
    if any(word in reason for word in _PLAIN):
        what = "use --tls-verify=false, or `insecure` in registries.conf, if that is meant"
        return f"it speaks plain HTTP on this port, not TLS; {what}", False, True
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
        return _wants_certificate(reason), False, False
    if "EOF" in reason:
        return "it closed the connection in place of TLS", True, True
    return f"TLS failed: {_tls_words(reason)}", False, True


def _wants_certificate(reason: str) -> str:
    return (
        f"it refuses our client certificate, or that there is none ({_tls_words(reason)}); "
        "/etc/containers/certs.d/HOST/ may hold NAME.cert and NAME.key"
    )


def _tls_words(reason: str) -> str:
    return show(reason.replace("_", " ").lower())


def broken(place: str, cause: BaseException) -> ConnectionFailed | ProtocolViolation:
    """Say what went wrong on a connection that was there."""
    if isinstance(cause, IncompleteRead):
        return ConnectionFailed(place, "the connection was cut before the body's end")
    if isinstance(cause, (RemoteDisconnected, ConnectionError)):
        return ConnectionFailed(place, "the connection was closed before the answer's end")
    if _is_tls(cause):
        reason = str(getattr(cause, "reason", None) or "")
        if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
            return NotTrusted(place, _wants_certificate(reason), again=False)
        return ConnectionFailed(place, f"TLS failed: {_tls_words(reason)}" if reason else "TLS failed")
    if isinstance(cause, TimeoutError):
        return ConnectionFailed(place, "no answer in time")
    if isinstance(cause, LineTooLong):
        return ProtocolViolation(place, "a line of its answer's headers is longer than 65536 bytes")
    if isinstance(cause, BadStatusLine):
        line = str(cause.args[0])[:80] if cause.args else ""
        tls = "\\x15\\x03" in line or line.startswith("\x15\x03")
        return ProtocolViolation(place, "it speaks TLS, not plain HTTP" if tls else f"not an answer of HTTP: {line}")
    if isinstance(cause, OSError):
        return ConnectionFailed(place, (cause.strerror or "the connection failed").lower())
    if isinstance(cause, HTTPException) and cause.args and "got more than" in str(cause):
        return ProtocolViolation(place, "its answer has too many headers")
    words = show(str(cause)) if isinstance(cause, HTTPException) else "bad chunk or header"
    return ProtocolViolation(place, f"an answer that breaks HTTP: {words}")
