"""Platforms: spelling, and the choice that containerd would make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.errors import InvalidDocument, InvalidPlatform
from oci.spec import Platform, choose
from oci.spec.platform import matches


def platforms(text: str) -> list[Platform | None]:
    return [None if word == "-" else Platform(*word.split("/")) for word in text.split()]


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/X86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/i386", "linux/386"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v8.0", "linux/arm64"),
        ("linux/arm64/v8.2", "linux/arm64/v8.2"),
        ("linux/arm64/9", "linux/arm64/v9"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm", "linux/arm"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("macos/arm64", "darwin/arm64"),
        ("linux/ppc64le", "linux/ppc64le"),
        ("unknown/unknown", "unknown/unknown"),
    ],
)
def test_platform_is_read_in_one_spelling(text: str, printed: str) -> None:
    assert str(Platform.parse(text)) == printed


@pytest.mark.parametrize(
    "text",
    ["", "linux", "amd64", "linux/", "/amd64", "linux//v8", "a/b/c/d", "linux/am d64", "l\n/b", "linux/*", "é/b"],
)
def test_what_is_no_platform_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidPlatform, match="such as"):
        Platform.parse(text)


def test_windows_version_stands_in_parentheses() -> None:
    platform = Platform.parse("windows(10.0.17763)/amd64")
    assert platform.os_version == "10.0.17763"
    assert str(platform) == "windows/amd64"


@pytest.mark.parametrize(
    ("wanted", "candidates", "chosen"),
    [
        # arm: down from v8 to v5, never up; no variant means v7
        ("linux/arm/v8", "linux/arm/v5 linux/arm/v6 linux/arm/v7 linux/arm/v8", 3),
        ("linux/arm/v7", "linux/arm/v5 linux/arm/v6 linux/arm/v8", 1),
        ("linux/arm/v7", "linux/arm/v5 linux/arm linux/arm/v6", 1),
        ("linux/arm", "linux/arm/v6 linux/arm/v7", 1),
        ("linux/arm/v6", "linux/arm/v7 linux/arm/v5", 1),
        ("linux/arm/v5", "linux/arm/v6 linux/arm", None),
        # arm64: 64 bits first, then 32
        ("linux/arm64", "linux/arm/v7 linux/arm64/v8", 1),
        ("linux/arm64/v8", "linux/arm/v7 linux/arm64", 1),
        ("linux/arm64", "linux/arm/v6 linux/arm/v7", 1),
        ("linux/arm64", "linux/arm64/v8.1 linux/arm/v5", 1),
        ("linux/arm64/v8.2", "linux/arm64 linux/arm64/v8.1 linux/arm64/v8.3", 1),
        ("linux/arm64/v9", "linux/arm64 linux/arm64/v8.5 linux/arm64/v8.6", 1),
        ("linux/arm64/v9.2", "linux/arm64/v8.7 linux/arm64/v9", 1),
        ("linux/arm64/v9.7", "linux/arm64/v8.9", 0),
        ("linux/arm64/v99", "linux/arm64 linux/arm64/v99", 1),
        ("linux/arm64", "linux/amd64", None),
        # amd64: down the levels, then 386
        ("linux/amd64/v3", "linux/amd64 linux/amd64/v2 linux/amd64/v4", 1),
        ("linux/amd64/v4", "linux/386 linux/amd64/v1", 1),
        ("linux/amd64", "linux/386 linux/amd64", 1),
        ("linux/amd64", "linux/386 linux/amd64/v2", 0),
        ("linux/386", "linux/amd64", None),
        ("linux/x86_64", "linux/aarch64 linux/amd64", 1),
        # the first of equals; no platform comes last; attestations never fit
        ("linux/s390x", "linux/s390x linux/s390x", 0),
        ("linux/amd64", "- linux/arm64 linux/amd64", 2),
        ("linux/amd64", "linux/arm64 - -", 1),
        ("linux/amd64", "unknown/unknown linux/amd64 unknown/unknown", 1),
        ("linux/amd64", "windows/amd64 darwin/amd64", None),
        ("linux/amd64", "", None),
        ("linux/riscv64/rva20u64", "linux/riscv64 linux/riscv64/rva20u64", 1),
        # a number without end does not make a list without end
        ("linux/arm/v999", "linux/arm/v6 linux/arm/v8", 1),
        ("linux/arm/v" + "9" * 5000, "linux/arm/v6", None),
    ],
)
def test_choice_is_containerds(wanted: str, candidates: str, chosen: int | None) -> None:
    assert choose(Platform(*wanted.split("/")), platforms(candidates)) == chosen


@pytest.mark.parametrize(
    ("host", "image", "runs"),
    [
        ("10.0.17763", "10.0.17763.1000", True),
        ("10.0.17763.5", "10.0.17763", True),
        ("10.0.17763", "10.0.17764", False),
        ("10.0.17763", "10.0.14393.1066", False),
        ("10.0.20348", "10.0.17763", False),
        ("10.0.22621", "10.0.20348", True),
        ("10.0.26100", "10.0.20348.1", True),
        ("10.0.26200", "10.0.20348", True),
        ("10.0.26100", "10.0.26101", False),
        ("10.0.20348", "10.0.26100", False),
        ("11.0.20348", "10.0.20348", False),
        ("10.0.17763", None, True),
        (None, "10.0.14393", True),
        ("10.0.17763", "nonsense", False),
    ],
)
def test_windows_goes_by_the_build(host: str | None, image: str | None, runs: bool) -> None:
    wanted = Platform("windows", "amd64", os_version=host)
    assert matches(wanted, Platform("windows", "amd64", os_version=image)) is runs


def test_os_version_of_others_than_windows_is_not_compared() -> None:
    assert matches(Platform("linux", "amd64", os_version="5"), Platform("linux", "amd64", os_version="6"))


def test_required_features_must_be_offered_and_more_of_them_win() -> None:
    plain, one = Platform("linux", "amd64"), Platform("linux", "amd64", os_features=("gpu",))
    both = Platform("linux", "amd64", os_features=("sse", "gpu", "gpu"))
    assert choose(plain, [one]) is None
    assert choose(both, [plain, one, both]) == 2
    assert choose(one, [plain, both]) == 0
    nano = Platform("windows", "amd64")
    assert matches(nano, Platform("windows", "amd64", os_features=("win32k",)))


def test_platform_object_keeps_unknown_and_reserved_fields() -> None:
    value = {"architecture": "arm", "os": "linux", "variant": "v7", "features": ["sse4"], "x": {"y": 1}}
    platform = Platform.from_json(value)
    assert platform.variant == "v7"
    assert platform.to_json() == value


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({"os": "linux"}, ""),
        ({"os": 1, "architecture": "a"}, "/os"),
        ([], ""),
        ({"os": "linux", "architecture": "a", "os.features": [1]}, "/os.features/0"),
    ],
)
def test_platform_object_with_a_fault_is_refused(value: object, pointer: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        Platform.from_json(value)
    assert caught.value.pointer == pointer


words = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)


@given(words, words, st.none() | words)
def test_normalising_twice_changes_nothing_and_text_reads_back(os: str, architecture: str, variant: str | None) -> None:
    once = Platform(os, architecture, variant).normalized()
    assert once.normalized() == once
    assert Platform.parse(str(once)).normalized() == once
    assert choose(once, [Platform(os, architecture, variant)]) == 0
