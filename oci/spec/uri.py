"""Whether a text is a URI by the grammar of RFC 3986 (image-spec v1.1.1 descriptor.md, `urls`)."""

from __future__ import annotations

from functools import cache

from oci.lazily import re

MAX_URI = (
    8192  # no server takes longer ones; the regular expression is linear, this bounds what messages and logs carry
)


@cache
def _pattern() -> re.Pattern[str]:
    """RFC 3986 appendix A, compiled on first use: few documents have urls."""
    safe = r"A-Za-z0-9\-._~!$&'()*+,;="
    percent = "%[0-9A-Fa-f]{2}"
    pchar = f"(?:[{safe}:@]|{percent})"
    authority = f"(?:(?:[{safe}:]|{percent})*@)?(?:\\[[0-9A-Fa-fvV:.{safe}]+\\]|(?:[{safe}]|{percent})*)(?::[0-9]*)?"
    path = f"(?://{authority}(?:/{pchar}*)*|/(?:{pchar}+(?:/{pchar}*)*)?|{pchar}+(?:/{pchar}*)*|)"
    tail = f"(?:\\?(?:{pchar}|[/?])*)?(?:#(?:{pchar}|[/?])*)?"
    return re.compile(f"[A-Za-z][A-Za-z0-9+.-]*:{path}{tail}")


def is_uri(text: str) -> bool:
    """Whether this is a URI with its scheme (relative references are none)."""
    return len(text) <= MAX_URI and _pattern().fullmatch(text) is not None
