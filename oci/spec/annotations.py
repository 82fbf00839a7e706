"""Annotation keys that the spec defines, and the grammar of reference names (image-spec v1.1.1 annotations.md)."""

from __future__ import annotations

from oci.lazily import re

CREATED = "org.opencontainers.image.created"
AUTHORS = "org.opencontainers.image.authors"
URL = "org.opencontainers.image.url"
DOCUMENTATION = "org.opencontainers.image.documentation"
SOURCE = "org.opencontainers.image.source"
VERSION = "org.opencontainers.image.version"
REVISION = "org.opencontainers.image.revision"
VENDOR = "org.opencontainers.image.vendor"
LICENSES = "org.opencontainers.image.licenses"
REF_NAME = "org.opencontainers.image.ref.name"
TITLE = "org.opencontainers.image.title"
DESCRIPTION = "org.opencontainers.image.description"
BASE_DIGEST = "org.opencontainers.image.base.digest"
BASE_NAME = "org.opencontainers.image.base.name"

# containerd writes the full image name here when it exports a layout, beside the plain tag in `ref.name`.
CONTAINERD_NAME = "io.containerd.image.name"

# A name longer than this is refused as input: no registry or file system takes it.
MAX_REF_NAME = 1024

_ALPHANUM = "[A-Za-z0-9]+"
_COMPONENT = f"{_ALPHANUM}(?:(?:[-._:@+]|--){_ALPHANUM})*"
# annotations.md, org.opencontainers.image.ref.name: component ("/" component)*
REF_NAME_GRAMMAR = f"{_COMPONENT}(?:/{_COMPONENT})*"

# distribution-spec v1.1.0 spec.md#pulling-manifests: the grammar of a tag.
TAG_GRAMMAR = r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"
_TAG_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

_SEPARATORS = str.maketrans("-._:@+", "//////")


def is_ref_name(text: str) -> bool:
    """Whether this is a reference name by the grammar of `org.opencontainers.image.ref.name`."""
    if len(text) > MAX_REF_NAME:
        return False
    # Nearly every name: letters and digits with single separators, which needs no regular expression.
    return is_separated(text.translate(_SEPARATORS)) or re.fullmatch(REF_NAME_GRAMMAR, text) is not None


def is_separated(text: str) -> bool:
    """Whether this is ASCII letters and digits, with single slashes between."""
    words = text.replace("/", "")
    return words.isascii() and words.isalnum() and "//" not in text and text[0] != "/" and text[-1] != "/"


def is_tag(text: str) -> bool:
    """Whether this is a tag by the distribution spec's grammar."""
    return 0 < len(text) <= 128 and not text.strip(_TAG_LETTERS) and text[0] not in ".-"  # as TAG_GRAMMAR has it
