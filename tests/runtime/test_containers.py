"""Every option, seen from inside: real containers of a real runtime, as root and as ordinary users."""

from __future__ import annotations

import os
import socket

import pytest

from oci.errors import InvalidInput, OciError, RuntimeFailed
from oci.runtime import capabilities
from oci.runtime.resources import Cgroups
from oci.runtime.settings import DeviceSetting, MountSetting, RunSettings, UlimitSetting
from tests.support.boxes import DOCKER_MASK, WHO, Box, Extra, capability_sets, contain, image_of

everybody = pytest.mark.parametrize("who", WHO)
both = pytest.mark.parametrize("who", ["root", "single"])  # where ranges of ids make no difference


def lines(box: Box) -> list[str]:
    assert box.status == 0, box
    return box.output.splitlines()


# Who it runs as


@everybody
def test_root_has_dockers_capabilities_and_none_to_inherit(who: str) -> None:
    box = contain("cat /proc/self/status", who=who)
    assert capability_sets(box.output) == {
        "CapInh": 0,
        "CapPrm": DOCKER_MASK,
        "CapEff": DOCKER_MASK,
        "CapBnd": DOCKER_MASK,
        "CapAmb": 0,
    }
    assert "NoNewPrivs:\t0" in box.output
    assert "Seccomp:\t2" in box.output


@pytest.mark.parametrize("who", ["root", "ranges"])
def test_an_ordinary_user_has_no_capabilities_but_the_bounding_set(who: str) -> None:
    box = contain("cat /proc/self/status; id; echo $HOME; pwd", RunSettings(user="app"), who=who)
    sets = capability_sets(box.output)
    assert (sets["CapEff"], sets["CapPrm"], sets["CapBnd"]) == (0, 0, DOCKER_MASK)
    assert box.output.splitlines()[-3:] == [
        "uid=1000(app) gid=1001(app) groups=29(audio),44(video),1001(app)",
        "/home/app",
        "/",
    ]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("daemon", "1 1 1"),
        ("1", "1 1 1"),
        ("app:video", "1000 44 44"),
        ("app:4", "1000 4 4"),
        ("77", "77 0 0"),
        ("77:88", "77 88 88"),
        ("", "0 0 0"),
    ],
)
def test_users_by_name_by_number_and_with_a_group(user: str, expected: str) -> None:
    assert lines(contain("echo $(id -u) $(id -g) $(id -G)", RunSettings(user=user))) == [expected]


def test_group_add_gives_further_groups() -> None:
    settings = RunSettings(user="77:88", group_add=("audio", "5"))
    assert set(lines(contain("id -G", settings))[0].split()) == {"88", "29", "5"}


def test_the_user_of_the_image_counts_unless_another_is_asked_for() -> None:
    assert lines(contain("id -u", image=image_of(user="daemon"))) == ["1"]
    assert lines(contain("id -u", RunSettings(user="0"), image=image_of(user="daemon"))) == ["0"]


def test_another_user_than_root_is_refused_where_there_is_a_single_id() -> None:
    with pytest.raises(InvalidInput, match=r"user 1000:1001 \(app\) has no id here.*0:0 alone.*subuid"):
        contain("id", RunSettings(user="app"), who="single")
    with pytest.raises(InvalidInput, match="--group-add"):
        contain("id", RunSettings(group_add=("audio",)), who="single")


def test_a_user_beyond_the_ranges_is_refused() -> None:
    with pytest.raises(InvalidInput, match="user 70000:0 has no id here: this user namespace has 65537 of them"):
        contain("id", RunSettings(user="70000"), who="ranges")


def test_a_user_that_is_not_in_passwd_is_refused() -> None:
    with pytest.raises(InvalidInput, match="user 'nosuch': the image's /etc/passwd has no such user"):
        contain("id", RunSettings(user="nosuch"))


# What it may do


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (RunSettings(cap_drop=("ALL",)), 0),
        (RunSettings(cap_drop=("all",), cap_add=("CAP_CHOWN", "net_admin")), 1 << 0 | 1 << 12),
        (RunSettings(cap_drop=("MKNOD", "CAP_NET_RAW")), DOCKER_MASK & ~(1 << 27) & ~(1 << 13)),
        (RunSettings(cap_add=("SYS_ADMIN",)), DOCKER_MASK | 1 << 21),
    ],
)
@pytest.mark.parametrize("who", ["root", "single"])
def test_capabilities_added_and_dropped(settings: RunSettings, expected: int, who: str) -> None:
    sets = capability_sets(contain("cat /proc/self/status", settings, who=who).output)
    assert (sets["CapEff"], sets["CapPrm"], sets["CapBnd"], sets["CapInh"]) == (expected, expected, expected, 0)


@both
def test_privileged_has_all_that_its_maker_has(who: str) -> None:
    box = contain("cat /proc/self/status; grep -c ' /sys sysfs ro' /proc/mounts", RunSettings(privileged=True), who=who)
    held = len(capabilities.of_process()) if who == "root" else len(capabilities.CAPABILITIES)
    assert capability_sets(box.output)["CapEff"].bit_count() == held
    assert "Seccomp:\t0" in box.output
    assert "maskedPaths" not in box.config["linux"]
    assert box.output.splitlines()[-1] == ("0" if who == "root" else "1")


def test_a_capability_that_cannot_be_given_is_refused() -> None:
    missing = sorted(set(capabilities.CAPABILITIES) - set(capabilities.of_process()))
    if not missing:
        pytest.skip("this process has every capability")
    with pytest.raises(InvalidInput, match="hasn't got that capability itself"):
        contain("true", RunSettings(cap_add=(missing[0],)))
    with pytest.raises(InvalidInput, match="no such capability"):
        contain("true", RunSettings(cap_add=("FLY",)))


@both
def test_no_new_privileges(who: str) -> None:
    box = contain("grep NoNewPrivs /proc/self/status", RunSettings(no_new_privileges=True), who=who)
    assert lines(box) == ["NoNewPrivs:\t1"]


@everybody
def test_system_calls_that_docker_refuses_are_refused(who: str) -> None:
    script = "unshare -U true; mount -t tmpfs x /tmp; unshare -n true; chroot / true && echo chroot"
    box = contain(script, who=who)
    assert box.output.splitlines() == [
        "unshare: unshare(0x10000000): Operation not permitted",
        "mount: permission denied (are you root?)",
        "unshare: unshare(0x40000000): Operation not permitted",
        "chroot",
    ]


@both
def test_seccomp_unconfined_and_a_profile_of_ones_own(who: str) -> None:
    free = contain("grep Seccomp: /proc/self/status", RunSettings(seccomp="unconfined"), who=who)
    assert lines(free) == ["Seccomp:\t0"]
    profile = """{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"""
    box = contain("mkdir /tmp/x; touch /tmp/y && echo made", RunSettings(seccomp=profile), who=who)
    assert box.output.splitlines() == ["mkdir: can't create directory '/tmp/x': No space left on device", "made"]


@both
def test_what_tells_of_the_machine_is_masked_and_what_would_change_it_is_read_only(who: str) -> None:
    script = """
        cat /proc/keys /proc/timer_list /proc/interrupts | wc -c; ls /sys/firmware /proc/acpi | wc -w
        for place in /proc/sys/kernel/hostname /proc/irq/default_smp_affinity /sys/kernel/uevent_seqnum; do
            (echo x > $place) 2>&1
        done"""
    found = contain(script, who=who).output.splitlines()
    assert found[0] == "0"
    assert found[1] == "2"  # the two names with a colon that ls prints for two folders
    for row in found[2:]:
        assert "Read-only file system" in row or "Permission denied" in row, found


def test_masks_can_be_taken_away() -> None:
    box = contain("cat /proc/interrupts | wc -c; grep -c ' /proc/sys ' /proc/mounts", RunSettings(masks=False))
    assert box.output.splitlines()[0] != "0"
    assert box.output.splitlines()[1] == "0"


# Devices


@everybody
def test_the_usual_devices_are_there_and_work(who: str) -> None:
    script = """
        for name in null zero full random urandom tty; do test -c /dev/$name || echo no $name; done
        test -L /dev/ptmx -a -L /dev/fd -a -L /dev/stdout || echo no links
        dd if=/dev/zero bs=8 count=1 2>/dev/null | wc -c; echo x > /dev/null
        echo x 2>/dev/null > /dev/full || echo full
        test -d /dev/pts -a -d /dev/shm -a -d /dev/mqueue && echo folders"""
    assert lines(contain(script, who=who)) == ["8", "full", "folders"]


@pytest.mark.parametrize("who", WHO)
def test_a_device_of_this_machine(who: str) -> None:
    device = DeviceSetting(source="/dev/zero", target="/dev/nought")
    box = contain("dd if=/dev/nought bs=4 count=1 2>/dev/null | wc -c", RunSettings(devices=(device,)), who=who)
    assert lines(box) == ["4"]


def test_a_device_that_may_only_be_read() -> None:
    if "devices" not in Cgroups.here().controllers:
        pytest.skip("no cgroup controller for devices")
    if not os.path.exists("/dev/kmsg"):
        pytest.skip("no /dev/kmsg")
    device = DeviceSetting(source="/dev/kmsg", target="/dev/kmsg", permissions="r")
    script = "dd if=/dev/kmsg of=/dev/null bs=8192 count=1 2>/dev/null && echo read; echo x 2>&1 > /dev/kmsg"
    settings = RunSettings(devices=(device,), cap_add=("SYSLOG",))
    box = contain(script, settings)
    assert box.output.splitlines()[0] == "read"
    assert "Operation not permitted" in box.output
    refused = contain("busybox mknod /tmp/kmsg c 1 11; cat /tmp/kmsg", RunSettings(cap_add=("SYSLOG",)))
    assert "Operation not permitted" in refused.output  # whoever may make a node still can't use it


def test_devices_that_are_none_are_refused() -> None:
    for source, reason in (("/dev/nosuch", "no such file"), ("/etc/passwd", "not a device"), ("/etc", "no device")):
        with pytest.raises(InvalidInput, match=reason):
            contain("true", RunSettings(devices=(DeviceSetting(source=source, target="/dev/x"),)))
    part = DeviceSetting(source="/dev/zero", target="/dev/zero2", permissions="r")
    with pytest.raises(InvalidInput, match="needs cgroups"):
        contain("true", RunSettings(devices=(part,)), who="single")


def test_privileged_sees_the_devices_of_this_machine() -> None:
    box = contain("ls /dev", RunSettings(privileged=True))
    here = {name for name in os.listdir("/dev") if os.path.exists(f"/dev/{name}") and not os.path.isdir(f"/dev/{name}")}
    assert here - set(box.output.split()) - {"log", "initctl", "core", "console"} == set()


# What it sees


@both
def test_host_name_environment_and_working_directory(who: str) -> None:
    image = image_of(env=("A=image", "B=image", "C=image"), working_dir="/made/for/it")
    settings = RunSettings(hostname="box.example", env=(("B", "asked"), ("C", None), ("D", "x=y z")))
    box = contain("hostname; pwd; env", settings, who=who, image=image)
    found = lines(box)
    assert found[:2] == ["box.example", "/made/for/it"]
    variables = dict(line.split("=", 1) for line in found[2:])
    assert variables | {"SHLVL": ""} == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME": "box.example",
        "A": "image",
        "B": "asked",
        "D": "x=y z",
        "HOME": "/root",
        "PWD": "/made/for/it",
        "SHLVL": "",
    }
    assert socket.gethostname() != "box.example"


def test_entrypoint_and_cmd_by_dockers_rules() -> None:
    image = image_of(entrypoint=("echo", "entry"), cmd=("cmd",))
    nothing = RunSettings(entrypoint=None)
    assert lines(contain(["given"], nothing, image=image)) == ["entry given"]
    other = RunSettings(entrypoint=("echo", "other"))
    assert lines(contain("", other, image=image)) == ["other"]
    with pytest.raises(InvalidInput, match="no command"):
        contain("", RunSettings(entrypoint=()), image=image)


@both
def test_a_read_only_root_still_has_places_to_write(who: str) -> None:
    settings = RunSettings(read_only=True, mounts=(MountSetting(type="tmpfs", target="/scratch"),))
    script = "touch /x; touch /tmp/x; touch /scratch/x /dev/shm/x /dev/x && echo written; touch /etc/hosts"
    hosts = Extra(facts={"hosts": "/etc/hosts"})
    assert contain(script, settings, who=who, extra=hosts).output.splitlines() == [
        "touch: /x: Read-only file system",
        "touch: /tmp/x: Read-only file system",
        "written",
        "touch: /etc/hosts: Read-only file system",
    ]


@both
def test_tmpfs_with_size_and_mode(who: str) -> None:
    mounts = (
        MountSetting(type="tmpfs", target="/a", options=("size=1m", "mode=1770")),
        MountSetting(type="tmpfs", target="/b", options=("exec",)),
    )
    script = """
        stat -c %a /a; df -k /a | grep -c ' 1024 '
        cp /bin/busybox /b/true 2>/dev/null || cat /bin/busybox > /b/true; chmod 755 /b/true; /b/true && echo runs
        cat /bin/busybox > /a/true; grep -o 'tmpfs /a tmpfs rw,[a-z,]*noexec' /proc/mounts"""
    box = contain(script.replace("chmod", "busybox chmod"), RunSettings(mounts=mounts), who=who)
    assert box.output.splitlines()[:3] == ["1770", "1", "runs"], box
    assert "noexec" in box.output


@both
def test_shm_size(who: str) -> None:
    assert "8192" in contain("df -k /dev/shm", RunSettings(shm_size=8 << 20), who=who).output.split()
    assert "65536" in contain("df -k /dev/shm", who=who).output.split()


@both
def test_binds_read_only_and_writable_and_of_files(who: str) -> None:
    mounts = (
        MountSetting(type="bind", source="/etc", target="/host", read_only=True),
        MountSetting(type="bind", source="/etc/hostname", target="/name", read_only=True),
        MountSetting(type="bind", source="/dev/shm", target="/both"),
    )
    name = f"ocikit-bind-{os.getpid()}"
    script = f"touch /host/x; cat /name /host/hostname; touch /name; touch /both/{name} && rm /both/{name}; echo $?"
    with open("/etc/hostname") as file:
        text = file.read().strip()
    box = contain(script.replace("rm ", "busybox rm "), RunSettings(mounts=mounts), who=who)
    assert box.output.splitlines() == [
        "touch: /host/x: Read-only file system",
        text,
        text,
        "touch: /name: Read-only file system",
        "0",
    ]


@pytest.mark.parametrize("who", ["root", "ranges"])
def test_a_volume_is_bound_where_it_was_asked_for(who: str) -> None:
    mount = MountSetting(type="volume", source="data", target="/data")
    box = contain(
        "touch /data/x && busybox rm /data/x && grep ' /data ' /proc/mounts",
        RunSettings(mounts=(mount,)),
        who=who,
        extra=Extra(facts={"volumes": {"/data": "/dev/shm"}}, change=None),
    )
    assert box.status == 0
    with pytest.raises(InvalidInput, match="volume at /data: it isn't there"):
        contain("true", RunSettings(mounts=(mount,)), who=who)


@both
def test_the_containers_own_files_are_bound_and_no_layer_has_them(who: str) -> None:
    facts = {"hosts": "/etc/passwd", "hostname_file": "/etc/hostname", "resolv_conf": "/etc/group"}
    box = contain("cat /etc/hosts; echo; cat /etc/resolv.conf", extra=Extra(facts=facts), who=who)
    with open("/etc/passwd") as passwd, open("/etc/group") as group:
        assert box.output == f"{passwd.read()}\n{group.read()}"


@everybody
def test_a_network_of_its_own_has_a_loopback_that_is_up(who: str) -> None:
    none = contain("ip -o addr", RunSettings(network="none"), who=who)
    assert "127.0.0.1/8" in none.output
    assert {line.split()[1] for line in lines(none)} == {"lo"}
    host = contain("ls /sys/class/net", who=who)
    assert set(host.output.split()) == set(os.listdir("/sys/class/net"))


@both
def test_an_init_program_is_the_first_process(who: str) -> None:
    program = "/usr/bin/catatonit"
    if not os.path.exists(program):
        pytest.skip("not installed: catatonit")
    box = contain(
        "cat /proc/1/comm; echo $$", RunSettings(init=True), who=who, extra=Extra(facts={"init_program": program})
    )
    assert lines(box)[0] in ("init", "catatonit")
    assert lines(box)[1] != "1"
    with pytest.raises(InvalidInput, match="no init program"):
        contain("true", RunSettings(init=True))


# What it may use


@both
def test_ulimits(who: str) -> None:
    limits = (UlimitSetting(name="nofile", soft=100, hard=200), UlimitSetting(name="core", soft=0, hard=0))
    assert lines(contain("ulimit -Sn; ulimit -Hn; ulimit -c", RunSettings(ulimits=limits), who=who)) == [
        "100",
        "200",
        "0",
    ]
    with pytest.raises(InvalidInput, match="above the hard limit"):
        contain("true", RunSettings(ulimits=(UlimitSetting(name="nofile", soft=1, hard=-1),)), who=who)


def test_memory_processors_and_processes() -> None:
    settings = RunSettings(memory=32 << 20, cpus=0.5, cpu_shares=512, pids_limit=20)
    if not {"memory", "cpu", "pids"} <= Cgroups.here().controllers or Cgroups.here().version != 1:
        pytest.skip("needs the memory, cpu and pids controllers of cgroups version 1")
    script = """
        cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares pids/pids.max
        cat memory/memory.memsw.limit_in_bytes 2>/dev/null"""
    found = lines(contain(script, settings))
    assert found[:4] == [str(32 << 20), "50000", "512", "20"]
    assert found[4:] in ([], [str(64 << 20)])


def test_resources_are_refused_where_there_are_no_cgroups() -> None:
    for settings in (RunSettings(memory=64 << 20), RunSettings(cpus=1), RunSettings(pids_limit=10)):
        with pytest.raises(InvalidInput, match="needs cgroups"):
            contain("true", settings, who="single")


def test_too_much_memory_is_the_containers_end_not_ours() -> None:
    settings = RunSettings(memory=8 << 20, memory_swap=8 << 20)
    if not Cgroups.here().swap:
        settings = settings.replace(memory_swap=None)
    box = contain("dd if=/dev/zero of=/dev/null bs=64M count=1", settings)
    assert box.status in (-9, 1, 137), box


# The working directory (CVE-2024-21626)


@pytest.mark.parametrize(
    "place", ["/proc/self/fd/7", "/proc/self/fd/7/../../..", "/proc/thread-self/cwd", "/proc/1/root"]
)
def test_no_working_directory_leads_to_a_process_of_this_machine(place: str) -> None:
    image = image_of(working_dir=place)
    if ".." in place:
        assert contain("pwd", image=image).output == "/proc\n"
        return
    with pytest.raises(InvalidInput, match="a process's own folder"):
        contain("pwd", image=image)


def test_a_link_of_the_image_does_not_lead_there_either() -> None:
    def link(root: str) -> None:
        os.symlink("/proc/self/fd/8", f"{root}/work")

    with pytest.raises(InvalidInput, match="'/work' leads to /proc/self/fd/8"):
        contain("pwd", image=image_of(working_dir="/work"), extra=Extra(prepare=link))


def test_descriptors_of_ours_do_not_reach_the_container() -> None:
    leaked = os.open("/", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    try:
        found = lines(contain("ls -l /proc/self/fd | grep -v '/proc/'"))
    finally:
        os.close(leaked)
    assert [row for row in found if " -> " in row and int(row.split(" -> ")[0].split()[-1]) > 2] == []


# exec


@everybody
def test_exec_runs_beside_the_container(who: str) -> None:
    options = {"env": (("X", "y"), ("A", "new")), "workdir": "/tmp"}
    script = "echo $A $X $B; pwd; cat /proc/1/comm; cat /proc/self/status"
    box = contain(
        ["sleep", "30"],
        image=image_of(env=("A=old", "B=kept")),
        who=who,
        extra=Extra(exec=(("sh", "-c", script), options)),
    )
    assert box.output.splitlines()[:3] == ["new y kept", "/tmp", "sleep"]
    assert capability_sets(box.output)["CapEff"] == DOCKER_MASK
    assert "Seccomp:\t2" in box.output


def test_exec_as_another_user_and_with_all_rights() -> None:
    words = ("sh", "-c", "id; echo $HOME; cat /proc/self/status")
    box = contain(["sleep", "30"], extra=Extra(exec=(words, {"user": "app"})))
    assert box.output.splitlines()[:2] == [
        "uid=1000(app) gid=1001(app) groups=29(audio),44(video),1001(app)",
        "/home/app",
    ]
    assert capability_sets(box.output)["CapEff"] == 0
    box = contain(
        ["sleep", "30"], RunSettings(user="app"), extra=Extra(exec=(words, {"user": "0", "privileged": True}))
    )
    assert capability_sets(box.output)["CapEff"].bit_count() == len(capabilities.of_process())
    assert box.output.splitlines()[1] == "/root"


def test_exec_of_what_is_not_there() -> None:
    for word, reason in (("nosuch", "no such program"), ("/etc/passwd", "can't be run")):
        with pytest.raises(RuntimeFailed, match=reason):
            contain(["sleep", "30"], extra=Extra(exec=((word,), {})))
    with pytest.raises(OciError, match="a process's own folder"):
        contain(["sleep", "30"], extra=Extra(exec=(("true",), {"workdir": "/proc/self/fd/3"})))
