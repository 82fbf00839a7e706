"""How a registry asks for credentials: the challenges of `WWW-Authenticate` (RFC 9110 sections 11.2 to 11.6.1).

::

    WWW-Authenticate = [ challenge *( OWS "," OWS challenge ) ]
    challenge        = auth-scheme [ 1*SP ( token68 / [ auth-param *( OWS "," OWS auth-param ) ] ) ]
    auth-param       = token BWS "=" BWS ( token / quoted-string )

A value without quotes may be more than a token here: some servers leave the quotes out. The comma separates challenges
and parameters alike, so that a word is a parameter when "=" and a value follow it, and a scheme otherwise. Several
headers are one list. What breaks the grammar ends the reading of its header; whole challenges before it count. Time is
linear in the length, which is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from oci.spec.record import Record, field

__all__ = ["Challenge", "parse_challenges"]

MAX_LENGTH = 32768  # characters of all challenges of one answer; real ones have some hundred
MAX_CHALLENGES = 16  # real answers have one or two
MAX_PARAMETERS = 32  # of one challenge; Bearer has five, Digest ten

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_WORD = re.compile(_TOKEN)
_BLANKS = re.compile(r"[ \t]*")
_SEPARATORS = re.compile(r"[ \t,]*")
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))', re.DOTALL)
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class Challenge(Record, kw_only=False):
    """One way to authenticate. `scheme` and the names in `params` are in lower case; `token68` is empty mostly.

    The first parameter of a name counts; several `scope` are one, with blanks between (scope.md: "a scope field for
    each required resource scope").
    """

    scheme: str
    params: Mapping[str, str] = field(default_factory=dict, hash=False)
    token68: str = ""


def parse_challenges(values: Sequence[str]) -> tuple[Challenge, ...]:
    """Read all `WWW-Authenticate` headers of an answer. Never raises: what is no challenge is none."""
    found: list[Challenge] = []
    left = MAX_LENGTH
    for value in values:
        left -= len(value)
        if left < 0:
            break
        _read(value, found)
    return tuple(found[:MAX_CHALLENGES])


def _read(text: str, found: list[Challenge]) -> None:
    place = _skip(_SEPARATORS, text, 0)
    while place < len(text) and len(found) < MAX_CHALLENGES:
        scheme = _WORD.match(text, place)
        if scheme is None:
            return
        params: dict[str, str] = {}
        place, blanks = scheme.end(), _skip(_BLANKS, text, scheme.end())
        token68 = _TOKEN68.match(text, blanks) if blanks > place else None
        if token68 is not None:
            place = token68.end()
        elif blanks < len(text) and blanks == place and text[place] != ",":
            return
        else:
            ended, place = _read_parameters(text, blanks, params)
            if not ended:
                return
        found.append(Challenge(scheme[0].lower(), params, token68[0] if token68 is not None else ""))
        after = _skip(_SEPARATORS, text, place)
        if after == place and place < len(text):
            return  # something stands right behind it
        place = after


def _read_parameters(text: str, place: int, params: dict[str, str]) -> tuple[bool, int]:
    """Read parameters as far as there are; give whether they end well, and where."""
    while True:
        start = _skip(_SEPARATORS, text, place)
        parameter = _PARAMETER.match(text, start)
        if parameter is None:
            # The next challenge begins here, or nothing does; a "=" behind the word is a parameter that is broken.
            word = _WORD.match(text, start)
            broken = word is not None and text.startswith("=", _skip(_BLANKS, text, word.end()))
            return not broken, place
        if len(params) == MAX_PARAMETERS:
            return False, place
        name, quoted, plain = parameter[1].lower(), parameter[2], parameter[3]
        value = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
        if name == "scope" and params.get(name):
            value = f"{params[name]} {value}"
            del params[name]
        params.setdefault(name, value)
        place = parameter.end()
        rest = _skip(_BLANKS, text, place)
        if rest < len(text) and text[rest] != ",":
            return False, rest


def _skip(pattern: re.Pattern[str], text: str, place: int) -> int:
    match = pattern.match(text, place)
    return match.end() if match is not None else place
