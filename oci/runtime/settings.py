"""What a container is to be, beside what its image says: the options of `create` and `run` as a value.

The command line parses its options into `RunSettings`, the store keeps them as JSON, `config.py` makes the
runtime-spec document of them. None and empty mean "not asked for": then the image's word counts, or docker's default.
"""

from __future__ import annotations

from collections.abc import Mapping

from oci.errors import InvalidInput, show
from oci.spec.record import Record, field
from oci.spec.wire import Fields, dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    R = TypeVar("R", bound=Record)

__all__ = ["DeviceSetting", "MountSetting", "PortSetting", "RunSettings", "UlimitSetting"]

MOUNT_TYPES = ("bind", "volume", "tmpfs")
NETWORKS = ("host", "none", "slirp4netns")
PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
DEFAULT_PROPAGATION = "rprivate"  # docker's


class MountSetting(Record):
    """One `-v`, `--mount` or `--tmpfs`; `source` is a path here (bind), a volume's name (volume), nothing (tmpfs)."""

    type: str
    target: str
    source: str = ""
    read_only: bool = False
    nocopy: bool = False  # a new volume stays empty, whatever the image has there
    recursive: bool = True  # a bind takes the mounts below its source along
    propagation: str | None = None
    options: tuple[str, ...] = ()  # of a tmpfs: size=64m, mode=1770, noexec, …

    @classmethod
    def from_fields(cls, fields: Fields) -> MountSetting:
        return _read(cls, fields, _MOUNT_READERS)


class DeviceSetting(Record):
    """One `--device`: a node of this machine (or a folder of them), its path inside, and how it may be used."""

    source: str
    target: str
    permissions: str = "rwm"

    @classmethod
    def from_fields(cls, fields: Fields) -> DeviceSetting:
        return _read(cls, fields, dict.fromkeys(("source", "target", "permissions"), Fields.string))


class UlimitSetting(Record):
    """One `--ulimit`; -1 is "unlimited"."""

    name: str
    soft: int
    hard: int

    @classmethod
    def from_fields(cls, fields: Fields) -> UlimitSetting:
        return _read(cls, fields, {"name": Fields.string, "soft": Fields.integer, "hard": Fields.integer})


class PortSetting(Record):
    """One `-p`: a port of this machine that leads to one of the container's."""

    host_port: int
    container_port: int
    host_address: str = ""
    protocol: str = "tcp"

    @classmethod
    def from_fields(cls, fields: Fields) -> PortSetting:
        return _read(
            cls,
            fields,
            {
                "host_port": Fields.integer,
                "container_port": Fields.integer,
                "host_address": Fields.string,
                "protocol": Fields.string,
            },
        )


class RunSettings(Record):
    """Everything that one container was asked to be."""

    # the process
    args: tuple[str, ...] = ()  # behind the image's name: they replace Cmd
    entrypoint: tuple[str, ...] | None = None  # None: the image's; empty: none at all; else Cmd counts no more either
    env: tuple[tuple[str, str | None], ...] = ()  # None takes a variable of the image away, as docker's `-e K` does
    workdir: str | None = None
    user: str | None = None
    group_add: tuple[str, ...] = ()
    tty: bool = False
    stdin_open: bool = False
    init: bool = False
    stop_signal: str | None = None
    stop_timeout: int | None = None  # seconds
    ulimits: tuple[UlimitSetting, ...] = ()
    # what it may do
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    no_new_privileges: bool = False
    seccomp: str | None = None  # None: docker's default profile; "unconfined"; or a profile's text (JSON)
    masks: bool = True  # False: no masked and no read-only paths (--security-opt systempaths=unconfined)
    # what it sees
    read_only: bool = False
    mounts: tuple[MountSetting, ...] = ()
    devices: tuple[DeviceSetting, ...] = ()
    shm_size: int | None = None  # bytes
    hostname: str | None = None
    network: str = "host"
    add_hosts: tuple[tuple[str, str], ...] = ()  # (name, address)
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    publish: tuple[PortSetting, ...] = ()
    # what it may use
    memory: int | None = None  # bytes
    memory_swap: int | None = None  # bytes, memory and swap together; -1: unlimited
    cpus: float | None = None
    cpu_shares: int | None = None
    pids_limit: int | None = None  # -1: unlimited
    # how it is kept
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    log_max_size: int | None = None  # bytes
    log_max_files: int | None = None
    detach_keys: str | None = None
    auto_remove: bool = False

    def to_json(self) -> str:
        """The settings as text; what is at its default is left out."""
        default = RunSettings()
        changed = {name: getattr(self, name) for name in _READERS if getattr(self, name) != getattr(default, name)}
        return dumps({name: _plain(value) for name, value in changed.items()}).decode()

    @classmethod
    def from_json(cls, text: str) -> RunSettings:
        """The settings from their text. Raises InvalidDocument, for a field of a newer version too."""
        document = "settings of a container"
        return _read(cls, Fields(loads(text.encode(), document=document), document=document), _READERS)


def _read(cls: type[R], fields: Fields, readers: Mapping[str, Callable[[Fields, str], Any]]) -> R:
    found = {name: reader(fields, name) for name, reader in readers.items() if name in fields}
    for name in fields.extra():
        # A setting that isn't understood may be one that keeps something shut: nothing is started without it.
        raise fields.fault(name, "is not a setting that this version of ocikit knows")
    try:
        return cls(**found)
    except TypeError as error:
        raise InvalidInput(f"{fields.document}{fields.pointer}: {show(str(error))}") from None


def _plain(value: object) -> object:
    """A field's value as JSON has it."""
    if isinstance(value, Record):
        return {name: _plain(getattr(value, name)) for name in type(value)._specs}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def _flag(fields: Fields, name: str) -> bool:
    value = fields.optional_boolean(name)
    if value is None:
        raise fields.fault(name, "expected true or false")
    return value


def _decimal(fields: Fields, name: str) -> float | None:
    value = fields.take(name)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return None if value is None else float(value)
    raise fields.fault(name, "expected a number")


def _pairs(fields: Fields, name: str) -> tuple[tuple[str, Any], ...]:
    pairs = []
    for item in fields.array(name):
        if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], str):
            raise fields.fault(name, "expected pairs of strings")
        if item[1] is not None and not isinstance(item[1], str):
            raise fields.fault(name, "expected pairs of strings")
        pairs.append((item[0], item[1]))
    return tuple(pairs)


def _full_pairs(fields: Fields, name: str) -> tuple[tuple[str, str], ...]:
    pairs = _pairs(fields, name)
    if any(value is None for _, value in pairs):
        raise fields.fault(name, "expected pairs of strings")
    return pairs


def _records(cls: Any) -> Callable[[Fields, str], tuple[Any, ...]]:
    def read(fields: Fields, name: str) -> tuple[Any, ...]:
        return tuple(cls.from_fields(inner) for inner in fields.optional_objects(name) or ())

    return read


def _none_or(reader: Callable[[Fields, str], Any]) -> Callable[[Fields, str], Any]:
    """A reader of a field in which null is a value of its own."""

    def read(fields: Fields, name: str) -> Any:
        lenient = Fields({name: fields.take(name)}, document=fields.document, null_is_absent=True)
        return reader(lenient, name)

    return read


_optional_text = _none_or(Fields.optional_string)
_optional_number = _none_or(Fields.optional_integer)

_MOUNT_READERS: dict[str, Callable[[Fields, str], Any]] = {
    "type": Fields.string,
    "target": Fields.string,
    "source": Fields.string,
    "read_only": _flag,
    "nocopy": _flag,
    "recursive": _flag,
    "propagation": _optional_text,
    "options": Fields.strings,
}

_READERS: dict[str, Callable[[Fields, str], Any]] = {
    "args": Fields.strings,
    "entrypoint": _none_or(Fields.optional_strings),
    "env": _pairs,
    "workdir": _optional_text,
    "user": _optional_text,
    "group_add": Fields.strings,
    "tty": _flag,
    "stdin_open": _flag,
    "init": _flag,
    "stop_signal": _optional_text,
    "stop_timeout": _optional_number,
    "ulimits": _records(UlimitSetting),
    "privileged": _flag,
    "cap_add": Fields.strings,
    "cap_drop": Fields.strings,
    "no_new_privileges": _flag,
    "seccomp": _optional_text,
    "masks": _flag,
    "read_only": _flag,
    "mounts": _records(MountSetting),
    "devices": _records(DeviceSetting),
    "shm_size": _optional_number,
    "hostname": _optional_text,
    "network": Fields.string,
    "add_hosts": _full_pairs,
    "dns": Fields.strings,
    "dns_search": Fields.strings,
    "dns_options": Fields.strings,
    "publish": _records(PortSetting),
    "memory": _optional_number,
    "memory_swap": _optional_number,
    "cpus": _decimal,
    "cpu_shares": _optional_number,
    "pids_limit": _optional_number,
    "labels": lambda fields, name: fields.optional_string_map(name) or {},
    "log_max_size": _optional_number,
    "log_max_files": _optional_number,
    "detach_keys": _optional_text,
    "auto_remove": _flag,
}
