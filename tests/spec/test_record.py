"""Records behave as the frozen dataclasses that they stand for."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys

import pytest

from oci.spec import Descriptor, Digest, Manifest, Platform
from oci.spec.record import Record, field


class Point(Record, kw_only=False):
    x: int
    y: int = 2
    notes: dict[str, str] = field(default_factory=dict, kw_only=True, hash=False)


def test_values_are_made_by_name_and_where_declared_by_position() -> None:
    assert Point(1) == Point(x=1, y=2, notes={})
    assert repr(Point(1)) == "Point(x=1, y=2, notes={})"
    with pytest.raises(TypeError, match="needs 'digest'"):
        Descriptor(media_type="a/b", size=0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="takes 0 positional"):
        Descriptor("a/b", Digest.of(b""), 0)  # type: ignore[misc]
    with pytest.raises(TypeError, match="takes 2 positional"):
        Point(1, 2, {})  # type: ignore[misc]
    with pytest.raises(TypeError, match="no field 'z'"):
        Point(1, z=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'x' twice"):
        Point(1, x=3)  # type: ignore[misc]


def test_values_are_frozen_and_slotted() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="assign"):
        point.x = 3  # type: ignore[misc]
    with pytest.raises(AttributeError, match="delete"):
        del point.x
    assert not hasattr(point, "__dict__")


def test_values_compare_and_hash_by_content() -> None:
    assert Point(1) != Point(2)
    assert Point(1, notes={"a": "b"}) != Point(1)
    assert hash(Point(1, notes={"a": "b"})) == hash(Point(1))
    assert Point(1) != (1, 2, {})
    first, second = Point(1), Point(1)
    assert first.notes is not second.notes


def test_copies_and_pickles_are_equal() -> None:
    digest = Digest.of(b"")
    value = Descriptor(
        media_type="a/b", digest=digest, size=0, platform=Platform("linux", "amd64"), annotations={"a": ""}
    )
    assert pickle.loads(pickle.dumps(value)) == value
    assert copy.copy(value) == copy.deepcopy(value) == value


def test_dataclasses_functions_work_on_records() -> None:
    value = Descriptor(media_type="a/b", digest=Digest.of(b""), size=0)
    assert dataclasses.is_dataclass(value)
    assert dataclasses.replace(value, size=3) == value.replace(size=3)
    assert dataclasses.replace(Point(1), x=5) == Point(5)
    assert [column.name for column in dataclasses.fields(Manifest)][:2] == ["config", "layers"]
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 2, "notes": {}}


def test_positional_fields_match_in_patterns() -> None:
    match Platform("linux", "arm", "v7"):
        case Platform(os, architecture, variant):
            assert (os, architecture, variant) == ("linux", "arm", "v7")


def test_importing_the_room_stays_cheap() -> None:
    code = "import sys, oci.spec; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert not {"dataclasses", "inspect", "datetime", "ipaddress", "urllib", "difflib", "tempfile"} & set(loaded)
