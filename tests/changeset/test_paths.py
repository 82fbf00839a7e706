from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.changeset.paths import ancestors, clean, join, split
from oci.errors import UnsafeEntry


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"usr/bin", b"usr/bin"),
        (b"./usr//bin/", b"usr/bin"),
        (b"/etc/passwd", b"etc/passwd"),
        (b"//etc", b"etc"),
        (b"./", b""),
        (b".", b""),
        (b"", b""),
        (b"/", b""),
        (b"a/./b/.", b"a/b"),
        (b".hidden", b".hidden"),
        (b"a/.hidden", b"a/.hidden"),
        (b"..a", b"..a"),
        (b"...", b"..."),
        (b"a/..b", b"a/..b"),
        (b"\xff\xfe\n", b"\xff\xfe\n"),
    ],
)
def test_names_are_made_relative_and_clean(name: bytes, path: bytes) -> None:
    assert clean(name) == path


@pytest.mark.parametrize("name", [b"..", b"../x", b"a/..", b"a/../b", b"/..", b"./..", b"a/b/../../..", b"a\0b", b"\0"])
def test_upward_components_and_nul_are_refused(name: bytes) -> None:
    with pytest.raises(UnsafeEntry):
        clean(name)


@given(st.lists(st.sampled_from([b"a", b"..", b".", b"", b".x", b"b\0", b"...", b"c"]), max_size=6))
def test_a_clean_name_is_what_the_components_say(parts: list[bytes]) -> None:
    name = b"/".join(parts)
    if b".." in parts or b"\0" in name:
        with pytest.raises(UnsafeEntry):
            clean(name)
        return
    path = clean(name)
    assert path == b"/".join(part for part in parts if part not in (b"", b"."))
    assert clean(path) == path


def test_parts_of_a_path() -> None:
    assert split(b"a/b/c") == (b"a/b", b"c")
    assert split(b"a") == (b"", b"a")
    assert join(b"", b"a") == b"a"
    assert join(b"a/b", b"c") == b"a/b/c"
    assert ancestors(b"a/b/c") == [b"a/b", b"a", b""]
    assert ancestors(b"") == []
