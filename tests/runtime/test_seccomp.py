"""The filter of system calls: docker's verdicts, conditions, and profiles of both forms."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from oci.errors import InvalidDocument, LimitExceeded
from oci.runtime import capabilities
from oci.runtime.seccomp import MAX_PROFILE, Machine, default_profile, profile, version
from oci.runtime.seccomp_calls import ALLOWED

AMD = Machine(architecture="amd64", kernel=(6, 1))
DEFAULT = capabilities.DEFAULT


def allowed(document: Mapping[str, Any] | None) -> set[str]:
    """The calls that are allowed whatever their arguments."""
    assert document is not None
    return {
        name
        for rule in document["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")
        for name in rule["names"]
    }


def of(*caps: str, machine: Machine = AMD) -> set[str]:
    return allowed(default_profile(caps, machine))


def test_a_call_stands_in_one_group_alone() -> None:
    names = " ".join(ALLOWED.values()).split()
    assert len(names) == len(set(names)) == 361


def test_what_escapes_from_containers_is_not_allowed() -> None:
    refused = """add_key request_key keyctl kexec_load kexec_file_load init_module finit_module delete_module reboot
        swapon swapoff mount umount2 pivot_root setns unshare bpf userfaultfd perf_event_open open_by_handle_at
        settimeofday clock_settime iopl ioperm nfsservctl acct quotactl move_pages mbind set_mempolicy get_mempolicy
        io_uring_setup io_uring_enter io_uring_register vhangup sysfs _sysctl uselib ustat lookup_dcookie create_module
        query_module vm86 vm86old personality socket clone clone3 kcmp process_madvise syslog sethostname"""
    assert of(*DEFAULT) & set(refused.split()) == set()


@pytest.mark.parametrize(
    ("capability", "calls"),
    [
        ("CAP_SYS_ADMIN", "mount umount2 unshare setns clone clone3 bpf perf_event_open sethostname syslog fsopen"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
        ("CAP_SYS_BOOT", "reboot"),
        ("CAP_SYS_CHROOT", "chroot"),
        ("CAP_SYS_MODULE", "init_module finit_module delete_module"),
        ("CAP_SYS_PACCT", "acct"),
        ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
        ("CAP_SYS_RAWIO", "iopl ioperm"),
        ("CAP_SYS_TIME", "settimeofday clock_settime"),
        ("CAP_SYS_TTY_CONFIG", "vhangup"),
        ("CAP_SYS_NICE", "mbind get_mempolicy set_mempolicy"),
        ("CAP_SYSLOG", "syslog"),
        ("CAP_BPF", "bpf"),
        ("CAP_PERFMON", "perf_event_open"),
    ],
)
def test_a_capability_opens_its_calls(capability: str, calls: str) -> None:
    names = set(calls.split())
    assert names <= of(capability)
    assert names & of() == set()


def test_refusing_is_eperm_and_clone3_is_enosys_so_that_libc_takes_clone() -> None:
    document: Any = default_profile(DEFAULT, AMD)
    assert (document["defaultAction"], document["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    assert {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38} in document["syscalls"]
    assert not any(
        "clone3" in rule["names"] and rule["action"] == "SCMP_ACT_ERRNO"
        for rule in default_profile(("CAP_SYS_ADMIN",), AMD)["syscalls"]  # type: ignore[attr-defined]
    )


def rules(name: str, machine: Machine = AMD, caps: Collection[str] = DEFAULT) -> list[dict[str, Any]]:
    document: Any = default_profile(caps, machine)
    return [rule["args"][0] for rule in document["syscalls"] if rule["names"] == [name] and "args" in rule]


def test_conditions_on_arguments() -> None:
    families = [(rule["op"], rule["value"]) for rule in rules("socket")]
    assert families == [("SCMP_CMP_LT", 38), ("SCMP_CMP_EQ", 39), ("SCMP_CMP_GT", 40)]
    assert [rule["value"] for rule in rules("personality")] == [0, 8, 0x20000, 0x20008, 0xFFFFFFFF]
    new = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
    assert rules("clone") == [{"index": 0, "value": new, "op": "SCMP_CMP_MASKED_EQ"}]
    assert rules("clone", Machine(architecture="s390x", kernel=(6, 1)))[0]["index"] == 1
    assert rules("clone", caps=("CAP_SYS_ADMIN",)) == []


def test_architectures() -> None:
    def architectures(name: str) -> object:
        return default_profile((), Machine(architecture=name, kernel=(6, 1)))["architectures"]

    assert architectures("amd64") == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert architectures("arm64") == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert "arch_prctl" in of()
    assert "arch_prctl" not in of(machine=Machine(architecture="arm64", kernel=(6, 1)))
    assert "set_tls" in of(machine=Machine(architecture="arm64", kernel=(6, 1)))
    assert "riscv_flush_icache" in of(machine=Machine(architecture="riscv64", kernel=(6, 1)))


def test_tracing_since_a_filter_sees_what_a_tracer_changes() -> None:
    assert "ptrace" in of(machine=Machine(architecture="amd64", kernel=(4, 8)))
    assert "ptrace" not in of(machine=Machine(architecture="amd64", kernel=(4, 7)))


def test_versions_and_machines() -> None:
    assert [version(text) for text in ("6.18.44-fc", "4.8", "5", "5.x", "")] == [
        (6, 18),
        (4, 8),
        (5, 0),
        (5, 0),
        (0, 0),
    ]
    assert Machine.of("x86_64", "6.1.0") == AMD
    assert Machine.of("aarch64", "5.4").native == "arm64"
    assert Machine.of("i686", "5.4").native == "x86"


# Profiles

DOCKERS = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 1,
    "archMap": [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
    ],
    "syscalls": [
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": [], "comment": "always"},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN", "CAP_KILL"]}},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["set_tls"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"names": ["never"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
        {"name": "one", "action": "SCMP_ACT_LOG"},
        {
            "names": ["personality"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
        },
    ],
}


def read(value: object, caps: Collection[str] = ("CAP_KILL",)) -> Any:
    return profile(json.dumps(value), caps, AMD)


def test_a_profile_in_dockers_form() -> None:
    found = read(DOCKERS)
    assert found["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert [rule["names"] for rule in found["syscalls"]] == [
        ["read", "write"],
        ["clone3"],
        ["ptrace"],
        ["one"],
        ["personality"],
    ]
    assert found["syscalls"][-1]["args"] == [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]
    assert "comment" not in found["syscalls"][0]
    with_admin = read(DOCKERS, ("CAP_SYS_ADMIN", "CAP_KILL"))
    assert ["mount"] in [rule["names"] for rule in with_admin["syscalls"]]
    assert ["clone3"] not in [rule["names"] for rule in with_admin["syscalls"]]


def test_a_profile_in_the_runtime_specs_form() -> None:
    value = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2}],
    }
    assert read(value) == value


def test_an_empty_profile_is_none_and_so_is_unconfined() -> None:
    assert read({}) is None
    assert profile("unconfined", (), AMD) is None


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"defaultAction": "ALLOW"}, "/defaultAction"),
        ({"defaultErrnoRet": 5000}, "/defaultErrnoRet"),
        ({"architectures": ["SCMP_ARCH_X86"]}, "/archMap"),
        ({"syscalls": [{"action": "SCMP_ACT_ALLOW"}]}, "/syscalls/0/names"),
        ({"syscalls": [{"names": ["a"], "name": "b", "action": "SCMP_ACT_ALLOW"}]}, "/syscalls/0/name"),
        ({"syscalls": [{"names": ["a"], "action": "allow"}]}, "/syscalls/0/action"),
        ({"syscalls": [{"names": [1], "action": "SCMP_ACT_ALLOW"}]}, "/syscalls/0/names/0"),
        (
            {"syscalls": [{"names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 9, "value": 0, "op": "x"}]}]},
            "/syscalls/0/args/0/index",
        ),
    ],
)
def test_a_profile_that_is_wrong_says_where(change: dict[str, object], pointer: str) -> None:
    with pytest.raises(InvalidDocument, match=f"seccomp profile at {pointer}: "):
        read(DOCKERS | change)


def test_what_is_no_json_is_one_clear_error() -> None:
    for text in ("", "/no/file", "[]", "{'a': 1}"):
        with pytest.raises(InvalidDocument, match="seccomp profile"):
            profile(text, (), AMD)
    with pytest.raises(LimitExceeded):
        profile(" " * (MAX_PROFILE + 1), (), AMD)
