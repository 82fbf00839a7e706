"""The bounding set by docker's rules."""

from __future__ import annotations

import pytest

from oci.errors import InvalidInput
from oci.runtime.capabilities import CAPABILITIES, DEFAULT, available, chosen, of_process, sets

HERE = tuple(name for name in CAPABILITIES if name != "CAP_SYS_RESOURCE")


def names(*short: str) -> set[str]:
    return {f"CAP_{name}" for name in short}


def test_the_default_is_dockers_fourteen() -> None:
    assert len(DEFAULT) == 14
    assert set(chosen((), (), privileged=False, here=HERE)) == set(DEFAULT)


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        (("NET_ADMIN",), (), set(DEFAULT) | names("NET_ADMIN")),
        (("cap_net_admin",), ("Cap_Kill",), set(DEFAULT) - names("KILL") | names("NET_ADMIN")),
        ((), ("ALL",), set()),
        (("CHOWN",), ("all",), names("CHOWN")),
        (("ALL",), (), set(HERE)),
        (("ALL",), ("SYS_ADMIN",), set(HERE) - names("SYS_ADMIN")),
        (("KILL",), ("KILL",), set(DEFAULT)),
    ],
)
def test_added_and_dropped(add: tuple[str, ...], drop: tuple[str, ...], expected: set[str]) -> None:
    assert set(chosen(add, drop, privileged=False, here=HERE)) == expected


def test_privileged_is_all_that_is_here() -> None:
    assert chosen(("CHOWN",), ("ALL",), privileged=True, here=HERE) == HERE


def test_what_is_not_here_is_refused_when_asked_for_and_left_out_of_the_default() -> None:
    with pytest.raises(InvalidInput, match="--cap-add CAP_SYS_RESOURCE: this process hasn't got"):
        chosen(("SYS_RESOURCE",), (), privileged=False, here=HERE)
    assert "CAP_MKNOD" not in chosen((), (), privileged=False, here=["CAP_CHOWN"])
    for option, given in (("--cap-add", (("FLY",), ())), ("--cap-drop", ((), ("CAP_ALL",)))):
        with pytest.raises(InvalidInput, match=f"{option} .*no such capability"):
            chosen(*given, privileged=False, here=HERE)


def test_only_root_has_them_in_effect_and_nobody_inherits() -> None:
    assert sets(["CAP_KILL"], 0) == {
        "bounding": ["CAP_KILL"],
        "effective": ["CAP_KILL"],
        "permitted": ["CAP_KILL"],
        "inheritable": [],
        "ambient": [],
    }
    assert sets(["CAP_KILL"], 5)["effective"] == []
    assert sets(["CAP_KILL"], 5)["bounding"] == ["CAP_KILL"]


def test_what_a_process_can_give_is_its_bounding_set() -> None:
    assert available(b"Name:\tx\nCapBnd:\t0000000000000021\nCapAmb:\t0\n") == ("CAP_CHOWN", "CAP_KILL")
    assert set(of_process()) <= set(CAPABILITIES)
