"""RunSettings: what was asked of a container, kept as JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.errors import InvalidDocument, OciError
from oci.runtime.settings import _READERS, DeviceSetting, MountSetting, PortSetting, RunSettings, UlimitSetting

words = st.text(max_size=8)
maybe = st.none() | words
number = st.none() | st.integers(-1, 1 << 40)
mounts = st.builds(
    MountSetting,
    type=st.sampled_from(["bind", "volume", "tmpfs"]),
    target=words,
    source=words,
    read_only=st.booleans(),
    nocopy=st.booleans(),
    recursive=st.booleans(),
    propagation=maybe,
    options=st.lists(words, max_size=2).map(tuple),
)
everything = st.builds(
    RunSettings,
    args=st.lists(words, max_size=3).map(tuple),
    entrypoint=st.none() | st.lists(words, max_size=2).map(tuple),
    env=st.lists(st.tuples(words, maybe), max_size=3).map(tuple),
    workdir=maybe,
    user=maybe,
    tty=st.booleans(),
    mounts=st.lists(mounts, max_size=2).map(tuple),
    devices=st.lists(st.builds(DeviceSetting, source=words, target=words), max_size=1).map(tuple),
    ulimits=st.lists(
        st.builds(UlimitSetting, name=words, soft=st.integers(-1, 9), hard=st.integers(-1, 9)), max_size=1
    ).map(tuple),
    publish=st.lists(
        st.builds(PortSetting, host_port=st.integers(0, 65535), container_port=st.integers(0, 65535)), max_size=1
    ).map(tuple),
    memory=number,
    cpus=st.none() | st.floats(0.1, 64),
    labels=st.dictionaries(st.text(min_size=1, max_size=5), words, max_size=2),
    add_hosts=st.lists(st.tuples(words, words), max_size=2).map(tuple),
    masks=st.booleans(),
)


@given(everything)
def test_settings_come_back_from_json_as_they_were(settings: RunSettings) -> None:
    assert RunSettings.from_json(settings.to_json()) == settings


def test_what_is_at_its_default_takes_no_room() -> None:
    assert RunSettings().to_json() == "{}"
    assert RunSettings.from_json("{}") == RunSettings()


def test_every_field_has_a_reader() -> None:
    assert list(_READERS) == list(RunSettings._specs)


def test_a_setting_of_a_newer_version_is_refused_not_forgotten() -> None:
    with pytest.raises(InvalidDocument, match="sandbox: is not a setting that this version of ocikit knows"):
        RunSettings.from_json('{"sandbox": "tight"}')
    with pytest.raises(InvalidDocument, match="colour"):
        RunSettings.from_json('{"mounts": [{"type": "tmpfs", "target": "/x", "colour": "red"}]}')


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"tty": 1}',
        '{"tty": null}',
        '{"args": "ls"}',
        '{"env": [["A"]]}',
        '{"env": [["A", 1]]}',
        '{"env": [[null, "x"]]}',
        '{"add_hosts": [["a", null]]}',
        '{"cpus": "2"}',
        '{"cpus": true}',
        '{"memory": 1.5}',
        '{"mounts": [{"type": "bind"}]}',
        '{"ulimits": [{"name": "nofile", "soft": 1}]}',
        '{"labels": {"a": 1}}',
    ],
)
def test_settings_that_are_none_are_one_clear_error(text: str) -> None:
    with pytest.raises(OciError, match="settings of a container"):
        RunSettings.from_json(text)
