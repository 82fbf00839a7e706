"""Digests by the grammar of image-spec v1.1.1 descriptor.md#digests."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.errors import InvalidDigest, UnsupportedDigest
from oci.spec.digest import MAX_DIGEST, Digest

HEX = "6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b"


@pytest.mark.parametrize(
    "text",
    [
        f"sha256:{HEX}",
        f"sha512:{HEX}{HEX}",
        f"blake3:{HEX}",
        "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8",
        "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564",
        "sha256+b64u.unknownlength:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564=",
        "sha256+foo-bar:c86f",
        "a:b",
    ],
)
def test_digest_that_fits_the_grammar_is_read_and_written_unchanged(text: str) -> None:
    assert str(Digest.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "sha256",
        "sha256:",
        f":{HEX}",
        HEX,
        f"SHA256:{HEX}",
        f"sha256:{HEX.upper()}",
        f"sha256:{HEX[1:]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX[1:]}g",
        f"sha256:{HEX[1:]}\n",
        f"sha256:{HEX}\n",
        f" sha256:{HEX}",
        f"sha512:{HEX}",
        f"blake3:{HEX}0",
        "sha256+foo+-b:c86f",
        "+sha256:c86f",
        "sha256+:c86f",
        "md5:abc/def",
        "md5:..",
        "md5:a:b",
        "md5:é",
        "md5:١",
        f"a:{'b' * MAX_DIGEST}",
    ],
)
def test_digest_that_breaks_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(InvalidDigest) as caught:
        Digest.parse(text)
    assert "\n" not in str(caught.value)


def test_of_and_hasher_agree_with_hashlib() -> None:
    for algorithm in ("sha256", "sha512"):
        digest = Digest.of(b"data", algorithm)
        assert str(digest) == f"{algorithm}:{hashlib.new(algorithm, b'data').hexdigest()}"
        hasher = digest.hasher()
        hasher.update(b"data")
        assert hasher.hexdigest() == digest.encoded
        assert digest.supported


def test_unregistered_algorithm_is_an_error_only_where_bytes_are_checked() -> None:
    digest = Digest.parse("multihash+base58:Qm")
    assert not digest.supported
    with pytest.raises(UnsupportedDigest, match="multihash"):
        digest.hasher()
    with pytest.raises(UnsupportedDigest):
        Digest.of(b"", "blake3")


def test_digests_are_values() -> None:
    one, same, other = Digest.of(b"1"), Digest.of(b"1"), Digest.of(b"2")
    assert one == same
    assert len({one, same, other}) == 2
    assert sorted([other, one]) == sorted([one, other])


@given(st.from_regex(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+", fullmatch=True))
def test_whatever_is_parsed_prints_as_it_was(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except InvalidDigest:
        assert text.startswith(("sha256:", "sha512:", "blake3:")) or len(text) > MAX_DIGEST
    else:
        assert str(digest) == text
