"""The image configuration: how to run the image, its layers' diff_ids and its history (image-spec v1.1.1 config.md).

Docker's fields are read beside the spec's: `Healthcheck`, `OnBuild`, `Shell`, `StopTimeout`, `ArgsEscaped`. Those that
say nothing about running an image (`Hostname`, `Memory`, `container_config`, …) are kept in `extra`, as any unknown
field is. Null means absent here, by the spec's note on optional fields. In the models None is "absent", and an empty
tuple or map is "there, but empty".
"""

from __future__ import annotations

from collections.abc import Mapping

from oci.errors import InvalidDocument
from oci.spec import rfc3339
from oci.spec.descriptor import parse_digest
from oci.spec.digest import Digest
from oci.spec.platform import Platform
from oci.spec.record import Record, field
from oci.spec.wire import Fields, put


class Healthcheck(Record):
    """How Docker asks a container whether it works; times are nanoseconds."""

    test: tuple[str, ...] | None = None
    interval: int | None = None
    timeout: int | None = None
    start_period: int | None = None
    start_interval: int | None = None
    retries: int | None = None
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)

    @classmethod
    def from_fields(cls, fields: Fields) -> Healthcheck:
        return cls(
            test=fields.optional_strings("Test"),
            interval=fields.optional_integer("Interval"),
            timeout=fields.optional_integer("Timeout"),
            start_period=fields.optional_integer("StartPeriod"),
            start_interval=fields.optional_integer("StartInterval"),
            retries=fields.optional_integer("Retries"),
            extra=fields.extra(),
        )

    def to_json(self) -> dict[str, object]:
        value: dict[str, object] = {}
        put(value, "Test", _list(self.test))
        put(value, "Interval", self.interval)
        put(value, "Timeout", self.timeout)
        put(value, "StartPeriod", self.start_period)
        put(value, "StartInterval", self.start_interval)
        put(value, "Retries", self.retries)
        value.update(self.extra)
        return value


class RunConfig(Record):
    """The `config` object: what a container made from the image starts with."""

    user: str | None = None
    exposed_ports: tuple[str, ...] | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: tuple[str, ...] | None = None
    working_dir: str | None = None
    labels: Mapping[str, str] | None = field(default=None, hash=False)
    stop_signal: str | None = None
    args_escaped: bool | None = None
    healthcheck: Healthcheck | None = None
    on_build: tuple[str, ...] | None = None
    shell: tuple[str, ...] | None = None
    stop_timeout: int | None = None
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)

    @classmethod
    def from_fields(cls, fields: Fields) -> RunConfig:
        healthcheck = fields.optional_object("Healthcheck")
        for name in ("Memory", "MemorySwap", "CpuShares"):
            fields.check_integer(name)
        return cls(
            user=fields.optional_string("User"),
            exposed_ports=fields.optional_set("ExposedPorts"),
            env=_read_env(fields),
            entrypoint=fields.optional_strings("Entrypoint"),
            cmd=fields.optional_strings("Cmd"),
            volumes=fields.optional_set("Volumes"),
            working_dir=fields.optional_string("WorkingDir"),
            labels=fields.optional_string_map("Labels"),
            stop_signal=fields.optional_string("StopSignal"),
            args_escaped=fields.optional_boolean("ArgsEscaped"),
            healthcheck=None if healthcheck is None else Healthcheck.from_fields(healthcheck),
            on_build=fields.optional_strings("OnBuild"),
            shell=fields.optional_strings("Shell"),
            stop_timeout=fields.optional_integer("StopTimeout"),
            extra=fields.extra(),
        )

    def to_json(self) -> dict[str, object]:
        value: dict[str, object] = {}
        put(value, "User", self.user)
        put(value, "ExposedPorts", _set(self.exposed_ports))
        put(value, "Env", _list(self.env))
        put(value, "Entrypoint", _list(self.entrypoint))
        put(value, "Cmd", _list(self.cmd))
        put(value, "Volumes", _set(self.volumes))
        put(value, "WorkingDir", self.working_dir)
        put(value, "Labels", None if self.labels is None else dict(self.labels))
        put(value, "StopSignal", self.stop_signal)
        put(value, "ArgsEscaped", self.args_escaped)
        put(value, "Healthcheck", None if self.healthcheck is None else self.healthcheck.to_json())
        put(value, "OnBuild", _list(self.on_build))
        put(value, "Shell", _list(self.shell))
        put(value, "StopTimeout", self.stop_timeout)
        value.update(self.extra)
        return value


class History(Record):
    """One step of how the image came to be; with `empty_layer` it made no layer. `created` is RFC 3339 text."""

    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool = False
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)

    @classmethod
    def from_fields(cls, fields: Fields) -> History:
        return cls(
            created=_read_time(fields, "created"),
            created_by=fields.optional_string("created_by"),
            author=fields.optional_string("author"),
            comment=fields.optional_string("comment"),
            empty_layer=fields.optional_boolean("empty_layer") or False,
            extra=fields.extra(),
        )

    def to_json(self) -> dict[str, object]:
        value: dict[str, object] = {}
        put(value, "created", self.created)
        put(value, "author", self.author)
        put(value, "created_by", self.created_by)
        put(value, "comment", self.comment)
        put(value, "empty_layer", self.empty_layer or None)
        value.update(self.extra)
        return value


class ImageConfig(Record):
    """The whole configuration; `diff_ids` name the uncompressed layers, base first. `created` is RFC 3339 text."""

    platform: Platform
    diff_ids: tuple[Digest, ...]
    run: RunConfig = field(default_factory=RunConfig)
    history: tuple[History, ...] = ()
    created: str | None = None
    author: str | None = None
    rootfs_extra: Mapping[str, object] = field(default_factory=dict, hash=False)
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)

    @classmethod
    def from_fields(cls, fields: Fields) -> ImageConfig:
        """Take a configuration's fields. Raises InvalidDocument."""
        platform = Platform.from_fields(fields, own=False)
        rootfs = fields.inner("rootfs")
        diff_ids, rootfs_extra = _read_rootfs(rootfs)
        run = fields.optional_object("config")
        return cls(
            platform=platform,
            diff_ids=diff_ids,
            run=RunConfig() if run is None else RunConfig.from_fields(run),
            history=tuple(History.from_fields(entry) for entry in fields.optional_objects("history") or ()),
            created=_read_time(fields, "created"),
            author=fields.optional_string("author"),
            rootfs_extra=rootfs_extra,
            extra=fields.extra(),
        )

    def to_json(self) -> dict[str, object]:
        """The configuration's object, its fields in the spec's order, unknown ones behind them."""
        value: dict[str, object] = {}
        put(value, "created", self.created)
        put(value, "author", self.author)
        value["architecture"] = self.platform.architecture
        value["os"] = self.platform.os
        put(value, "os.version", self.platform.os_version)
        put(value, "os.features", list(self.platform.os_features) or None)
        put(value, "variant", self.platform.variant)
        put(value, "config", self.run.to_json() or None)
        value["rootfs"] = {
            "type": "layers",
            "diff_ids": [str(diff_id) for diff_id in self.diff_ids],
            **self.rootfs_extra,
        }
        put(value, "history", [entry.to_json() for entry in self.history] or None)
        value.update(self.extra)
        return value

    def chain_ids(self) -> tuple[Digest, ...]:
        """For each layer the ChainID of it and all below (config.md#layer-chainid), base first."""
        chain: list[Digest] = []
        for diff_id in self.diff_ids:
            chain.append(Digest.of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
        return tuple(chain)


def _read_rootfs(fields: Fields) -> tuple[tuple[Digest, ...], Mapping[str, object]]:
    kind = fields.string("type")
    if kind != "layers":
        raise fields.fault("type", f"must be 'layers', got {kind!r}")
    place = fields.place("diff_ids")
    diff_ids = tuple(
        parse_digest(text, document=fields.document, pointer=f"{place}/{number}")
        for number, text in enumerate(fields.strings("diff_ids"))
    )
    return diff_ids, fields.extra()


def _read_env(fields: Fields) -> tuple[str, ...] | None:
    """config.md: entries are VARNAME=VARVALUE."""
    entries = fields.optional_strings("Env")
    for number, entry in enumerate(entries or ()):
        if entry.find("=") < 1:
            place = f"{fields.place('Env')}/{number}"
            raise InvalidDocument("expected VARNAME=VARVALUE", document=fields.document, pointer=place)
    return entries


def _read_time(fields: Fields, name: str) -> str | None:
    text = fields.optional_string(name)
    if text is not None:
        check_time(text, document=fields.document, pointer=fields.place(name))
    return text


def check_time(text: str, *, document: str, pointer: str) -> None:
    """Raise InvalidDocument unless this is a time as RFC 3339 section 5.6 writes it."""
    try:
        rfc3339.parse(text)
    except ValueError as error:
        raise InvalidDocument(str(error), document=document, pointer=pointer) from None


def _list(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)


def _set(names: tuple[str, ...] | None) -> dict[str, object] | None:
    return None if names is None else {name: {} for name in names}
