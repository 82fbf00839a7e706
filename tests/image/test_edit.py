"""Changing configs and manifests: what is named changes, everything else stays."""

from __future__ import annotations

from typing import Any

import pytest

from oci.errors import InvalidDocument, InvalidInput
from oci.image.edit import edit_annotations, edit_config, time_text
from oci.spec.config import Healthcheck, ImageConfig
from oci.spec.document import Document, parse_config, parse_manifest
from oci.spec.platform import Platform
from tests.support import images

FULL: dict[str, Any] = {
    "created": "2024-01-02T03:04:05Z",
    "author": "A",
    "architecture": "amd64",
    "os": "linux",
    "unknown": {"kept": [1, 2]},
    "config": {
        "User": "u",
        "ExposedPorts": {"80/tcp": {}, "8080": {}},
        "Env": ["A=1", "PATH=/bin", "A=2"],
        "Entrypoint": ["e"],
        "Cmd": ["c"],
        "Volumes": {"/v": {}},
        "WorkingDir": "/w",
        "Labels": {"b": "1", "a": "2"},
        "StopSignal": "SIGINT",
        "Hostname": "h",
        "NobodyKnows": True,
    },
    "rootfs": {"type": "layers", "diff_ids": []},
}


PORTS = ["53/udp", "80/tcp", "8080", "9000/tcp", "9001/tcp"]


def full() -> ImageConfig:
    return parse_config(images.encode(FULL)).model


def run(config: ImageConfig) -> dict[str, Any]:
    value: Any = config.to_json()["config"]
    return value  # type: ignore[no-any-return]


def edited(**changes: Any) -> dict[str, Any]:
    """What of the full config differs after these changes, None for what is gone."""
    before, after = FULL["config"], run(edit_config(full(), **changes))
    return {key: after.get(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def test_no_change_gives_the_same_config() -> None:
    config = full()
    assert edit_config(config) is config


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({"user": "1000:1000"}, {"User": "1000:1000"}),
        ({"user": None}, {"User": None}),
        ({"env": {"B": "x=y", "PATH": "/usr/bin"}}, {"Env": ["A=2", "PATH=/usr/bin", "B=x=y"]}),
        ({"env": {"A": None, "NEVER": None}}, {"Env": ["PATH=/bin"]}),
        ({"env": {"A": None, "PATH": None}}, {"Env": None}),
        ({"env": None}, {"Env": None}),
        ({"entrypoint": ["/a", "b"]}, {"Entrypoint": ["/a", "b"]}),
        ({"entrypoint": []}, {"Entrypoint": []}),
        ({"entrypoint": None, "cmd": None}, {"Entrypoint": None, "Cmd": None}),
        ({"cmd": ("x",)}, {"Cmd": ["x"]}),
        ({"workdir": "/"}, {"WorkingDir": "/"}),
        ({"workdir": None}, {"WorkingDir": None}),
        ({"labels": {"c": "3", "b": None}}, {"Labels": {"a": "2", "c": "3"}}),
        ({"labels": None}, {"Labels": None}),
        ({"ports": ["53/udp", "9000-9001"]}, {"ExposedPorts": {port: {} for port in PORTS}}),
        ({"ports": {"80": False, "8080": False}}, {"ExposedPorts": None}),
        ({"ports": None}, {"ExposedPorts": None}),
        ({"volumes": {"/v": False, "/data": True}}, {"Volumes": {"/data": {}}}),
        ({"stop_signal": "SIGRTMIN+3"}, {"StopSignal": "SIGRTMIN+3"}),
        ({"stop_signal": None}, {"StopSignal": None}),
        ({"stop_timeout": 30}, {"StopTimeout": 30}),
        ({"shell": ["/bin/bash", "-c"]}, {"Shell": ["/bin/bash", "-c"]}),
        ({"on_build": ["RUN x"]}, {"OnBuild": ["RUN x"]}),
        ({"healthcheck": Healthcheck(test=("NONE",))}, {"Healthcheck": {"Test": ["NONE"]}}),
        ({"hostname": None, "domainname": "d"}, {"Hostname": None, "Domainname": "d"}),
    ],
)
def test_each_field_is_set_and_taken_away(changes: dict[str, Any], result: dict[str, Any]) -> None:
    assert edited(**changes) == result


def test_author_time_and_platform_are_changed() -> None:
    config = edit_config(
        full(), author=None, created=1_000_000_000_000_000_000, platform=Platform("linux", "arm", "v7")
    )
    value = config.to_json()
    assert "author" not in value
    assert (value["created"], value["architecture"], value["variant"]) == ("2001-09-09T01:46:40Z", "arm", "v7")
    assert value["unknown"] == {"kept": [1, 2]}


def test_the_order_of_options_does_not_show() -> None:
    one = edit_config(full(), labels={"x": "1", "y": "2"}, ports=["1", "2"])
    other = edit_config(full(), ports=["2", "1"], labels={"y": "2", "x": "1"})
    assert Document.of(one).raw == Document.of(other).raw


@pytest.mark.parametrize(
    "changes",
    [
        {"user": ""},
        {"env": {"": "x"}},
        {"env": {"A=B": "x"}},
        {"env": {"A": "x\0"}},
        {"entrypoint": "sh -c"},
        {"ports": ["http"]},
        {"ports": ["0"]},
        {"ports": ["70000"]},
        {"ports": ["9-8"]},
        {"ports": "80"},
        {"volumes": [""]},
        {"volumes": ["data"]},
        {"volumes": {"data": False}},
        {"workdir": "relative"},
        {"labels": {"": "x"}},
        {"stop_signal": "stop it"},
        {"stop_signal": "SIGNOPE"},
        {"stop_signal": "65"},
        {"stop_signal": "0"},
        {"stop_signal": "SIGRTMIN+31"},
        {"healthcheck": Healthcheck(test=("NONE",), retries=-1)},
        {"created": "yesterday"},
        {"created": 10**30},
    ],
)
def test_what_no_image_can_say_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        edit_config(full(), **changes)


@pytest.mark.parametrize("signal", ["SIGTERM", "TERM", "15", "SIGRTMIN", "SIGRTMIN+3", "RTMAX-14", "64"])
def test_signals_are_linux_ones(signal: str) -> None:
    assert edit_config(full(), stop_signal=signal).run.stop_signal == signal


def test_what_somebody_else_spelt_badly_can_be_taken_away() -> None:
    config = full()
    config = config.replace(run=config.run.replace(volumes=("data",), exposed_ports=("http", "80")))
    changed = edit_config(config, volumes={"data": False}, ports={"http": False, "80": False}).run
    assert (changed.volumes, changed.exposed_ports) == (None, None)


def test_text_that_is_no_unicode_is_refused_when_written() -> None:
    with pytest.raises(InvalidDocument):
        Document.of(edit_config(full(), env={"A": "\udcff"}))


def test_annotations_are_set_and_taken_away() -> None:
    manifest = parse_manifest(
        images.encode(
            images.manifest(images.descriptor(b"{}", images.OCI_CONFIG), [], annotations={"b": "1", "a": "2"}, odd=1)
        )
    ).model
    changed = edit_annotations(manifest, {"c": "3", "b": None})
    assert dict(changed.annotations) == {"a": "2", "c": "3"}
    assert changed.extra == {"odd": 1}
    assert edit_annotations(manifest, None).annotations == {}


def test_times_are_text_or_nanoseconds() -> None:
    assert time_text(None) is None
    assert time_text("2024-01-01T00:00:00+01:00") == "2024-01-01T00:00:00+01:00"
    assert time_text(1) == "1970-01-01T00:00:00.000000001Z"
