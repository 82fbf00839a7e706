"""A container in words: a line of `ps`, the JSON of `ps` and `inspect`, and what `--filter` asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from oci.cli import output
from oci.cli.failures import UsageError
from oci.errors import InvalidReference, OciError, show
from oci.spec import rfc3339
from oci.spec.quick_json import loads
from oci.spec.reference import StoreRef, familiar, has_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oci.container.container import Container
    from oci.storage.containers import ContainerRow
    from oci.storage.store import Store

__all__ = [
    "Commands",
    "ago",
    "details",
    "filters",
    "item",
    "ports",
    "print_details",
    "shown_image",
    "state_words",
]

_STATUSES = ("created", "running", "exited", "removing")


def time_of(nanoseconds: int | None) -> str | None:
    """A time as JSON has it."""
    return None if nanoseconds is None else rfc3339.format(nanoseconds)


def ago(nanoseconds: int) -> str:
    """A length of time in one unit, as docker words it: 5 minutes, about an hour."""
    seconds = max(nanoseconds, 0) // 10**9
    for limit, unit, word in (
        (60, 1, "second"),
        (3600, 60, "minute"),
        (48 * 3600, 3600, "hour"),
        (14 * 86400, 86400, "day"),
        (60 * 86400, 7 * 86400, "week"),
        (730 * 86400, 30 * 86400, "month"),
    ):
        if seconds < limit:
            count = seconds // unit
            if count == 0:
                return "less than a second"
            if count == 1 and word in ("minute", "hour"):
                return f"about {'an' if word == 'hour' else 'a'} {word}"
            return f"{count} {word}{'' if count == 1 else 's'}"
    return f"{seconds // (365 * 86400)} years"


def state_words(row: ContainerRow, now: int) -> str:
    """Up 5 minutes; Exited (0) 2 hours ago; Created."""
    if row.status == "running" and row.started is not None:
        return f"Up {ago(now - row.started)}"
    if row.status == "exited":
        code = "?" if row.exit_code is None else str(row.exit_code)
        when = "" if row.finished is None else f" {ago(now - row.finished)} ago"
        return f"Exited ({code}){when}"
    return row.status.capitalize()


class Commands:
    """What containers run: their own words, or those of their image, which is read once for all of its containers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._images: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}

    def of(self, row: ContainerRow) -> tuple[str, ...]:
        """The whole command line; of a damaged image nothing."""
        settings: Mapping[str, Any] = loads(row.settings)
        entrypoint, args = settings.get("entrypoint"), settings.get("args")
        if entrypoint is not None:
            return (*entrypoint, *(args or ()))
        if row.image_id not in self._images:
            self._images[row.image_id] = self._image(row)
        own, cmd = self._images[row.image_id]
        return (*own, *(args or cmd))

    def _image(self, row: ContainerRow) -> tuple[tuple[str, ...], tuple[str, ...]]:
        from oci.container.container import Container

        try:
            config = Container(self._store, row).image_config.run
        except OciError:
            return (), ()
        return tuple(config.entrypoint or ()), tuple(config.cmd or ())


def shown_image(row: ContainerRow) -> str:
    """The image's name as people write it; its short ID where it was made from an ID."""
    if row.image_name is None:
        return output.short_id(row.image_id)
    return familiar(row.image_name)


def ports(row: ContainerRow) -> list[dict[str, Any]]:
    """The published ports, as JSON has them."""
    return [
        {
            "hostAddress": port.get("host_address") or None,
            "hostPort": port["host_port"],
            "containerPort": port["container_port"],
            "protocol": port.get("protocol") or "tcp",
        }
        for port in loads(row.settings).get("publish") or ()
    ]


def item(row: ContainerRow, command: Sequence[str], size: int | None) -> dict[str, Any]:
    """One item of `ps --json`, and the first part of `inspect --json`."""
    found: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "image": shown_image(row),
        "imageId": row.image_id,
        "command": list(command),
        "status": row.status,
        "created": time_of(row.created),
        "started": time_of(row.started),
        "finished": time_of(row.finished),
        "exitCode": row.exit_code,
        "error": row.error,
        "pid": row.init.pid if row.status == "running" and row.init is not None else None,
        "ports": ports(row),
        "labels": dict(row.labels),
    }
    if size is not None:
        found["size"] = size
    return found


def details(container: Container) -> dict[str, Any]:
    """All that is known of a container: `inspect --json`."""
    store, row = container.store, container.row
    settings: dict[str, Any] = loads(container.settings.to_json())
    for kept_apart in ("args", "labels"):
        settings.pop(kept_apart, None)
    mounts: list[dict[str, Any]] = [
        {"type": "volume", "name": name, "source": store.volume_path(name), "target": path,
         "readOnly": read_only}
        for name, path, read_only in store.containers.volumes(row.id)
    ]  # fmt: skip
    known = {mount["target"] for mount in mounts}
    mounts += [
        {"type": mount.type, "name": None, "source": mount.source or None, "target": mount.target,
         "readOnly": mount.read_only}
        for mount in container.settings.mounts
        if mount.type != "volume" and mount.target not in known
    ]  # fmt: skip
    return {
        **item(row, Commands(store).of(row), None),
        "manifest": row.manifest,
        "driver": row.driver,
        "layers": list(row.layers),
        "mounts": mounts,
        "settings": settings,
        "autoRemove": row.auto_remove,
        "folder": container.folder,
        "logFile": f"{container.folder}/log.json",
    }


# --filter

Filter = Callable[["ContainerRow"], bool]


def filters(words: Sequence[str], store: Store) -> Filter:
    """`--filter KEY=VALUE`: several values of one key are alternatives, several keys have to hold all."""
    wanted: dict[str, list[Filter]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in _FILTERS:
            raise UsageError(f"--filter {show(word)!r}: expected one of {', '.join(f'{k}=…' for k in _FILTERS)}")
        wanted.setdefault(key, []).append(_FILTERS[key](word, value, store))
    return lambda row: all(any(one(row) for one in ones) for ones in wanted.values())


def _by_status(word: str, value: str, store: Store) -> Filter:
    if value not in _STATUSES:
        raise UsageError(f"--filter {show(word)!r}: the status is one of {', '.join(_STATUSES)}")
    return lambda row: row.status == value


def _by_label(word: str, value: str, store: Store) -> Filter:
    name, equals, wanted = value.partition("=")
    return lambda row: name in row.labels and (not equals or row.labels[name] == wanted)


def _by_exit(word: str, value: str, store: Store) -> Filter:
    if not value.isdigit():
        raise UsageError(f"--filter {show(word)!r}: expected an exit status")
    return lambda row: row.status == "exited" and row.exit_code == int(value)


def _by_image(word: str, value: str, store: Store) -> Filter:
    whole = StoreRef(value).normalized if _is_name(value) else None
    name = None if whole is None else (whole.name if has_tag(value) else whole.replace(tag=None).name)
    digits = value.removeprefix("sha256:")

    def fits(row: ContainerRow) -> bool:
        if len(digits) > 1 and row.image_id.partition(":")[2].startswith(digits):
            return True
        return name is not None and row.image_name is not None and row.image_name.startswith(name) and (
            row.image_name[len(name) :][:1] in ("", ":")
        )  # fmt: skip

    return fits


def _is_name(text: str) -> bool:
    try:
        return StoreRef(text).normalized is not None
    except InvalidReference:
        return False


def _by_volume(word: str, value: str, store: Store) -> Filter:
    return lambda row: any(value in (name, path) for name, path, _ in store.containers.volumes(row.id))


_FILTERS: dict[str, Callable[[str, str, Any], Filter]] = {
    "name": lambda word, value, store: lambda row: value in row.name,
    "id": lambda word, value, store: lambda row: row.id.startswith(value),
    "status": _by_status,
    "label": _by_label,
    "exited": _by_exit,
    "ancestor": _by_image,
    "volume": _by_volume,
}


def print_details(container: Container, now: int) -> None:
    """`inspect` of a container, for people."""
    import shlex

    row, known = container.row, details(container)
    output.facts(
        [
            ("Container", row.name),
            ("ID", row.id),
            ("Image", f"{known['image']} ({row.image_id})"),
            ("Command", shlex.join(known["command"]) or None),
            ("Status", state_words(row, now)),
            ("Process", None if known["pid"] is None else str(known["pid"])),
            ("Created", output.when(known["created"])),
            ("Started", None if row.started is None else output.when(known["started"])),
            ("Finished", None if row.finished is None else output.when(known["finished"])),
            ("Error", row.error),
            ("Driver", row.driver),
            ("Folder", container.folder),
        ]
    )
    for title, lines in (
        ("Mounts", [f"{m['target']}  {m['type']} {m['name'] or m['source'] or ''}{' (ro)' if m['readOnly'] else ''}"
                    for m in known["mounts"]]),
        ("Labels", [f"{name}={value}" for name, value in row.labels.items()]),
    ):  # fmt: skip
        if lines:
            print(f"{title}:")
            for line in lines:
                print(f"  {output.printable(line.rstrip())}")
