"""The options of `create` and `run`: one table, and a pure way from what was typed to `RunSettings`.

Names and grammar are docker's. What depends on the machine comes as arguments: the environment (`-e NAME`), the current
directory (`-v ./x:/y`), and a function that reads the files that options name. Everything wrong is a UsageError of one
line that begins with the option.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from oci.cli.failures import UsageError
from oci.cli.options import parse_labels
from oci.cli.quantities import byte_count, decimal, whole
from oci.errors import ConfigurationError, InvalidInput, show
from oci.lazily import re
from oci.runtime.settings import NETWORKS, DeviceSetting, MountSetting, PortSetting, RunSettings, UlimitSetting
from oci.spec.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "OPTIONS",
    "Option",
    "checked_keys",
    "checked_signal",
    "environment",
    "read_file",
    "run_settings",
    "working_directory",
]

MAX_OPTION_FILE = 1 << 20  # bytes of an --env-file or a seccomp profile; docker's own profile has 14 KiB


class Option(Record, kw_only=False):
    """One row: the names, how the value is called (empty: a flag), what it does, and whether it may be repeated."""

    names: str
    metavar: str
    help: str
    many: bool = False

    @property
    def key(self) -> str:
        """The name under which its value is found: `--cap-add` → cap_add."""
        return self.names.split()[0].lstrip("-").replace("-", "_")


OPTIONS: tuple[Option, ...] = (
    Option("--name", "NAME", "The container's name; default: a generated one."),
    Option("--rm", "", "Remove the container when it ends, with its anonymous volumes."),
    Option("--interactive -i", "", "Keep stdin open."),
    Option("--tty -t", "", "Give it a terminal."),
    Option("--env -e", "NAME[=VALUE]", "An environment variable; without a value, the caller's own; repeat.", True),
    Option("--env-file", "FILE", "Variables from a file, one NAME=VALUE a line; repeat.", True),
    Option("--workdir -w", "PATH", "The working directory in the container."),
    Option("--user -u", "USER[:GROUP]", "Who the process is, names or numbers."),
    Option("--group-add", "GROUP", "One more group of the process; repeat.", True),
    Option("--entrypoint", "COMMAND", "In place of the image's entrypoint; '' for none."),
    Option("--volume -v", "[SOURCE:]PATH[:OPTIONS]", "A volume or a path of this machine in the container.", True),
    Option("--mount", "type=TYPE,…", "The same with words: type=bind|volume|tmpfs,source=…,target=…,readonly.", True),
    Option("--tmpfs", "PATH[:OPTIONS]", "A file system in memory; repeat.", True),
    Option("--read-only", "", "The container's root file system can't be written."),
    Option("--network --net", "|".join(NETWORKS), "Which network it sees."),
    Option("--publish -p", "[[IP:]HOST:]PORT[/tcp|udp]", "A port of this machine that leads to one of its own.", True),
    Option("--hostname", "NAME", "Its host name; default: this machine's with its network, else the short ID."),
    Option("--add-host", "NAME:IP", "One more line of /etc/hosts; repeat.", True),
    Option("--dns", "IP", "A name server in place of this machine's; repeat.", True),
    Option("--dns-search", "DOMAIN", "A domain to search names in; repeat.", True),
    Option("--dns-option", "OPTION", "An option of resolv.conf; repeat.", True),
    Option("--memory -m", "BYTES", "The most memory it may use, such as 512m."),
    Option("--memory-swap", "BYTES", "Memory and swap together; -1: unlimited."),
    Option("--cpus", "NUMBER", "How many processors' time it may use, such as 1.5."),
    Option("--cpu-shares", "NUMBER", "Its weight among others; 1024 is normal."),
    Option("--pids-limit", "NUMBER", "The most processes; -1: unlimited."),
    Option("--ulimit", "NAME=SOFT[:HARD]", "A limit of its processes, such as nofile=1024; repeat.", True),
    Option("--shm-size", "BYTES", "The size of /dev/shm; default: 64m."),
    Option("--cap-add", "CAPABILITY", "One more capability, or ALL; repeat.", True),
    Option("--cap-drop", "CAPABILITY", "One capability less, or ALL; repeat.", True),
    Option("--privileged", "", "All capabilities and devices, no seccomp, nothing masked."),
    Option("--security-opt", "OPTION", "no-new-privileges, seccomp=FILE|unconfined, systempaths=unconfined.", True),
    Option("--device", "HOST[:PATH][:rwm]", "A device of this machine; repeat.", True),
    Option("--init", "", "Run a small init as process 1, which reaps and passes signals on."),
    Option("--stop-signal", "SIGNAL", "What `stop` sends first; default: the image's, else SIGTERM."),
    Option("--stop-timeout", "SECONDS", "How long `stop` waits before it kills; default: 10."),
    Option("--label -l", "NAME[=VALUE]", "A label; repeat.", True),
    Option("--log-opt", "NAME=VALUE", "max-size=BYTES and max-file=NUMBER of the log; repeat.", True),
    Option("--detach-keys", "KEYS", "What leaves a terminal; default: ctrl-p,ctrl-q."),
    Option("--cidfile", "FILE", "Write the container's ID to this new file."),
    Option("--pull", "missing|always|never", "Whether the image is fetched; default: missing."),
    Option("--platform", "OS/ARCH[/VARIANT]", "Which image of an index; default: this machine's platform."),
)

Reader = Callable[[str, int], bytes]  # (path, limit in bytes) → what is in the file


def run_settings(
    asked: Mapping[str, Any], args: Iterable[str], *, environ: Mapping[str, str], cwd: str, read: Reader
) -> RunSettings:
    """Make settings of what was asked for (`Option.key` → value) and the words behind the image. UsageError."""

    def text(key: str) -> str | None:
        return asked.get(key) or None

    def many(key: str) -> list[str]:
        return list(asked.get(key) or ())

    def flag(key: str) -> bool:
        return bool(asked.get(key))

    network = text("network") or "host"
    publish = tuple(_port(one) for one in many("publish"))
    if network not in NETWORKS:
        raise UsageError(f"--network {show(network)!r}: not one of {', '.join(NETWORKS)}")
    if publish and not asked.get("network"):
        network = "slirp4netns"  # the one that has ports to publish
    if publish and network != "slirp4netns":
        raise UsageError(f"--publish: with --network {network} there is nothing to publish; use --network slirp4netns")
    entrypoint = asked.get("entrypoint")
    return RunSettings(
        args=tuple(args),
        entrypoint=None if entrypoint is None else (entrypoint,) if entrypoint else (),
        env=environment(many("env_file"), many("env"), environ, read),
        workdir=working_directory(text("workdir")),
        user=text("user"),
        group_add=tuple(many("group_add")),
        tty=flag("tty"),
        stdin_open=flag("interactive"),
        init=flag("init"),
        stop_signal=_signal(text("stop_signal")),
        stop_timeout=_whole("--stop-timeout", text("stop_timeout"), least=-1, most=10**9),
        ulimits=tuple(_ulimit(one) for one in many("ulimit")),
        privileged=flag("privileged"),
        cap_add=tuple(many("cap_add")),
        cap_drop=tuple(many("cap_drop")),
        read_only=flag("read_only"),
        mounts=_mounts(many("volume"), many("mount"), many("tmpfs"), cwd),
        devices=tuple(_device(one) for one in many("device")),
        shm_size=_bytes("--shm-size", text("shm_size")),
        hostname=_hostname(text("hostname")),
        network=network,
        add_hosts=tuple(_host(one) for one in many("add_host")),
        dns=tuple(_address("--dns", one) for one in many("dns")),
        dns_search=tuple(many("dns_search")),
        dns_options=tuple(many("dns_option")),
        publish=publish,
        # 0 is docker's word for no limit, in all three.
        memory=_bytes("--memory", text("memory")) or None,
        memory_swap=-1 if asked.get("memory_swap") == "-1" else _bytes("--memory-swap", text("memory_swap")) or None,
        cpus=None if text("cpus") in (None, "0") else decimal("--cpus", asked["cpus"]),
        cpu_shares=_whole("--cpu-shares", text("cpu_shares"), least=2, most=262144),
        pids_limit=_whole("--pids-limit", text("pids_limit"), least=-1),
        labels=parse_labels(many("label")),
        detach_keys=checked_keys(asked.get("detach_keys")),
        auto_remove=flag("rm"),
        **_security(many("security_opt"), read),
        **_logging(many("log_opt")),
    )


def read_file(path: str, limit: int) -> bytes:
    """A file that an option names; one that can't be read is wrong usage, as docker has it."""
    try:
        with open(path, "rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{show(os.fsencode(path))}: {(error.strerror or 'can not be read').lower()}") from None
    if len(raw) > limit:
        raise UsageError(f"{show(os.fsencode(path))}: longer than {limit} bytes")
    return raw


def _read(option: str, path: str, read: Reader) -> bytes:
    try:
        return read(path, MAX_OPTION_FILE)
    except UsageError as error:
        raise UsageError(f"{option}{error}") from None


def _bytes(option: str, text: str | None) -> int | None:
    return None if text is None else byte_count(option, text)


def _mounts(volumes: Sequence[str], mounts: Sequence[str], tmpfs: Sequence[str], cwd: str) -> tuple[MountSetting, ...]:
    if not (volumes or mounts or tmpfs):
        return ()
    from oci.cli import mount_options

    return mount_options.one_each(
        [
            *(mount_options.volume(one, cwd) for one in volumes),
            *(mount_options.mount(one, cwd) for one in mounts),
            *(mount_options.tmpfs(one) for one in tmpfs),
        ]
    )


def _whole(option: str, text: str | None, *, least: int = 0, most: int = (1 << 63) - 1) -> int | None:
    return None if text is None else whole(option, text, least=least, most=most)


def working_directory(text: str | None) -> str | None:
    """`--workdir`; an absolute path."""
    if text is not None and not text.startswith("/"):
        raise UsageError(f"--workdir {show(text)!r}: expected an absolute path in the container")
    return text


def _hostname(text: str | None) -> str | None:
    # sethostname(2) takes 64 bytes; the grammar is RFC 1123's, with the underscores that people use.
    if text is not None and re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?", text) is None:
        raise UsageError(f"--hostname {show(text)!r}: expected at most 64 letters, digits, '-' and '.'")
    return text


def _signal(text: str | None) -> str | None:
    if text is not None:
        checked_signal("--stop-signal", text)
    return text


def checked_signal(option: str, text: str) -> int:
    """SIGTERM, TERM, term, 15, RTMIN+3 → a number."""
    from oci.container.signals import parse_signal

    try:
        return parse_signal(text, where=option)
    except ConfigurationError as error:
        raise UsageError(str(error)) from None


def checked_keys(text: str | None) -> str | None:
    """`--detach-keys`; an empty text means that nothing detaches."""
    if text:
        from oci.container.detach_keys import parse_keys

        try:
            parse_keys(text, where="--detach-keys")
        except InvalidInput as error:
            raise UsageError(str(error)) from None
    return text


# Environment


def environment(
    files: Iterable[str], words: Iterable[str], environ: Mapping[str, str], read: Reader
) -> tuple[tuple[str, str | None], ...]:
    """Variables in the order in which they were first said; the last word counts, and `-e` over every file."""
    found: dict[str, str | None] = {}
    for path in files:
        found.update(_env_file(path, environ, read))
    for word in words:
        name, equals, value = word.partition("=")
        if not name:
            raise UsageError(f"--env {show(word)!r}: expected NAME=VALUE or NAME")
        found[name] = value if equals else environ.get(name)
    for name, value_ in found.items():
        if "\0" in name or "\0" in (value_ or ""):
            raise UsageError(f"--env {show(name)}: a variable can't hold a zero byte")
    return tuple(found.items())


def _env_file(path: str, environ: Mapping[str, str], read: Reader) -> dict[str, str | None]:
    """Docker's rules: # begins a comment line, no quotes and no expansion, NAME alone is the caller's if it is set."""
    try:
        text = _read("--env-file ", path, read).removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError:
        raise UsageError(f"--env-file {show(path)}: is not UTF-8") from None
    found: dict[str, str | None] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r").lstrip(" \t")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not name or any(character.isspace() for character in name):
            raise UsageError(f"--env-file {show(path)}: line {number} is not NAME=VALUE")
        if equals or name in environ:
            found[name] = value if equals else environ[name]
    return found


# Hosts, ports, limits, devices


def _address(option: str, text: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise UsageError(f"{option} {show(text)!r}: expected an IP address") from None


def _host(text: str) -> tuple[str, str]:
    name, separator, address = text.partition("=" if "=" in text else ":")
    if not separator or re.fullmatch(r"[A-Za-z0-9_.-]+", name) is None:
        raise UsageError(f"--add-host {show(text)!r}: expected NAME:IP")
    return name, _address("--add-host", address.removeprefix("[").removesuffix("]"))


def _port(text: str) -> PortSetting:
    found = re.fullmatch(r"(?:(?:(\[[0-9a-f:.]+\]|[0-9.]+):)?([0-9]*):)?([0-9]+)(?:/(tcp|udp))?", text)
    if found is None:
        raise UsageError(f"--publish {show(text)!r}: expected [[IP:]HOST:]PORT[/tcp|udp]")
    address = (found[1] or "").strip("[]")
    inner = whole("--publish", found[3], least=1, most=65535)
    outer = whole("--publish", found[2], least=1, most=65535) if found[2] else inner
    return PortSetting(
        host_port=outer,
        container_port=inner,
        host_address=_address("--publish", address) if address else "",
        protocol=found[4] or "tcp",
    )


def _ulimit(text: str) -> UlimitSetting:
    from oci.runtime.resources import RLIMITS

    name, equals, values = text.partition("=")
    soft, colon, hard = values.partition(":")
    if not equals or not re.fullmatch(r"-1|[0-9]{1,19}", soft) or not re.fullmatch(r"(-1|[0-9]{1,19})?", hard):
        raise UsageError(f"--ulimit {show(text)!r}: expected NAME=SOFT[:HARD], such as nofile=1024:2048")
    if name not in RLIMITS:
        raise UsageError(f"--ulimit {show(text)!r}: {show(name)!r} is not one of {', '.join(sorted(RLIMITS))}")
    low, high = int(soft), int(hard) if colon and hard else int(soft)
    if high != -1 and (low == -1 or low > high):
        raise UsageError(f"--ulimit {show(text)!r}: the soft limit is above the hard one")
    return UlimitSetting(name=name, soft=low, hard=high)


def _device(text: str) -> DeviceSetting:
    source, *rest = text.split(":")
    permissions = rest.pop() if rest and re.fullmatch(r"[rwm]{1,3}", rest[-1]) else "rwm"
    target = rest.pop(0) if rest else source
    if rest or not source.startswith("/") or not target.startswith("/") or len(set(permissions)) != len(permissions):
        raise UsageError(f"--device {show(text)!r}: expected /dev/HOST[:/dev/PATH][:rwm]")
    return DeviceSetting(source=source, target=target, permissions=permissions)


# --security-opt, --log-opt


def _security(words: Iterable[str], read: Reader) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=" if "=" in word else ":")
        if name == "no-new-privileges" and value in ("", "true", "false"):
            found["no_new_privileges"] = value != "false"
        elif name == "seccomp" and value == "unconfined":
            found["seccomp"] = value
        elif name == "seccomp" and value:
            found["seccomp"] = _profile(value, read)
        elif name == "systempaths" and value == "unconfined":
            found["masks"] = False
        elif (name, value) in (("apparmor", "unconfined"), ("label", "disable")):
            pass  # neither AppArmor nor SELinux is used here anyway
        else:
            raise UsageError(
                f"--security-opt {show(word)!r}: expected no-new-privileges, seccomp=FILE, seccomp=unconfined "
                "or systempaths=unconfined"
            )
    return found


def _profile(path: str, read: Reader) -> str:
    try:
        return _read("--security-opt seccomp=", path, read).decode()
    except UnicodeDecodeError:
        raise UsageError(f"--security-opt seccomp={show(path)}: is not UTF-8") from None


def _logging(words: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in ("max-size", "max-file"):
            raise UsageError(f"--log-opt {show(word)!r}: expected max-size=BYTES or max-file=NUMBER")
        if name == "max-size":
            found["log_max_size"] = None if value == "-1" else byte_count("--log-opt max-size", value)
        else:
            found["log_max_files"] = whole("--log-opt max-file", value, least=1, most=1000)
    return found
