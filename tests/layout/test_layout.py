"""The layout directory: made, opened, edited; and what is said when it is something else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oci.errors import DestinationError, InvalidDocument, InvalidReference, LayoutError, LimitExceeded, RefNotFound
from oci.layout.layout import Layout
from oci.spec import Descriptor, Digest
from oci.spec.annotations import REF_NAME
from tests.support.images import LayoutMaker, encode, tar_layer

A = Descriptor(media_type="application/vnd.oci.image.manifest.v1+json", digest=Digest.of(b"a"), size=1)
B = Descriptor(media_type="application/vnd.oci.image.manifest.v1+json", digest=Digest.of(b"b"), size=1)


def entries(path: Path) -> list[tuple[str, str | None]]:
    index = json.loads((path / "index.json").read_bytes())
    return [(e["digest"], e.get("annotations", {}).get(REF_NAME)) for e in index["manifests"]]


def test_a_new_layout_has_what_the_spec_demands(tmp_path: Path) -> None:
    Layout.create(tmp_path / "deep" / "new")
    made = tmp_path / "deep" / "new"
    assert sorted(path.name for path in made.iterdir()) == ["blobs", "index.json", "oci-layout"]
    assert json.loads((made / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((made / "index.json").read_bytes()) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [],
    }
    assert Layout.open(made).tags() == {}


def test_create_takes_an_empty_directory_and_an_interrupted_create(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / ".tmp-0123456789abcdef").write_text("half")
    (tmp_path / "index.json").write_bytes(b'{"schemaVersion":2,"manifests":[]}')
    Layout.create(tmp_path)
    assert Layout.open(tmp_path).index().model.manifests == ()


@pytest.mark.parametrize("name", ["file.txt", "index.json"])
def test_create_touches_no_directory_that_holds_something(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encode({"schemaVersion": 2, "manifests": [A.to_json()]}))
    before = (tmp_path / name).read_bytes()
    with pytest.raises(DestinationError, match="neither empty nor an image layout"):
        Layout.create(tmp_path, exist_ok=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: before}


def test_create_over_a_layout_is_refused_unless_allowed(tmp_path: Path) -> None:
    Layout.create(tmp_path).tag("v1", A)
    with pytest.raises(DestinationError, match="already"):
        Layout.create(tmp_path)
    assert list(Layout.create(tmp_path, exist_ok=True).tags()) == ["v1"]


def test_create_over_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DestinationError, match="not a directory"):
        Layout.create(tmp_path / "file")


def test_open_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no such directory"):
        Layout.open(tmp_path / "nowhere")
    with pytest.raises(LayoutError, match="no file 'oci-layout'"):
        Layout.open(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(LayoutError, match="oci-archive:FILE"):
        Layout.open(tmp_path / "file")


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (b'{"imageLayoutVersion":"2.0.0"}', "'2.0.0' is not known"),
        (b"{}", "imageLayoutVersion"),
        (b'{"imageLayoutVersion":1}', "expected a string"),
        (b"[]", "expected an object"),
        (b"", "not an image layout"),
    ],
)
def test_open_refuses_a_marker_it_does_not_know(tmp_path: Path, marker: bytes, message: str) -> None:
    (tmp_path / "oci-layout").write_bytes(marker)
    with pytest.raises(LayoutError, match=message):
        Layout.open(tmp_path)


def test_a_marker_with_more_fields_is_fine(tmp_path: Path) -> None:
    Layout.create(tmp_path)
    (tmp_path / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0","x":1}')
    Layout.open(tmp_path)


def test_special_files_neither_hang_nor_feed_for_ever(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path)
    (tmp_path / "index.json").unlink()
    with pytest.raises(LayoutError, match=r"no file 'index.json'"):
        layout.index()
    os.mkfifo(tmp_path / "index.json")
    with pytest.raises(LayoutError, match="regular file"):
        layout.index()
    (tmp_path / "index.json").unlink()
    (tmp_path / "index.json").symlink_to("/dev/zero")
    with pytest.raises(LayoutError, match="regular file"):
        layout.index()


def test_an_index_json_over_the_limit_is_refused(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path)
    (tmp_path / "index.json").write_bytes(b'{"schemaVersion":2,"manifests":[]}' + b" " * (4 << 20))
    with pytest.raises(LimitExceeded):
        layout.index()


def test_a_tag_moves_and_the_others_stay(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path)
    layout.tag("one", A)
    layout.tag("two", A)
    layout.tag("three", B)
    layout.tag("one", B)
    assert entries(tmp_path) == [(str(B.digest), "one"), (str(A.digest), "two"), (str(B.digest), "three")]
    layout.untag("two")
    assert entries(tmp_path) == [(str(B.digest), "one"), (str(B.digest), "three")]
    with pytest.raises(RefNotFound, match="there is: one, three"):
        layout.untag("two")


def test_tagging_names_the_untagged_entry_of_that_digest_and_ends_duplicates(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "l")
    image = maker.image([tar_layer({"a": b"1"})])
    other = maker.image([tar_layer({"a": b"2"})])
    maker.tag("v", other)
    maker.tag(None, image)
    maker.tag("v", other)
    layout = Layout.open(maker.finish())
    layout.tag("w", Descriptor.from_json(image))
    layout.tag("v", Descriptor.from_json(image))
    assert entries(maker.path) == [(image["digest"], "v"), (image["digest"], "w")]


def test_unknown_fields_of_index_json_survive_an_edit(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "l")
    image = maker.image([tar_layer({"a": b"1"})])
    entry = image | {"x-note": [1, {"y": None}]}
    maker.finish(
        {"schemaVersion": 2, "manifests": [entry], "annotations": {"who": "me"}, "x-more": "kept", "x-list": [3]}
    )
    Layout.open(maker.path).tag("v1", A)
    after = json.loads((maker.path / "index.json").read_bytes())
    assert after["manifests"][0] == entry
    assert (after["annotations"], after["x-more"], after["x-list"]) == ({"who": "me"}, "kept", [3])
    assert "mediaType" not in after


def test_an_edit_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "l")
    (maker.path / "index.json").write_bytes(b'{ "manifests": [] , "schemaVersion": 2 }')
    with Layout.open(maker.path).edit_index():
        pass
    assert (maker.path / "index.json").read_bytes() == b'{ "manifests": [] , "schemaVersion": 2 }'


def test_an_edit_that_raises_leaves_the_old_index(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path)
    layout.tag("one", A)

    def failing_edit() -> None:
        with layout.edit_index() as edit:
            edit.index = edit.index.replace(manifests=())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing_edit()
    assert list(layout.tags()) == ["one"]


@pytest.mark.parametrize("name", ["", "a b", "-x-", "a//b", "a\nb", "ü", "/a"])
def test_a_tag_outside_the_grammar_is_refused(tmp_path: Path, name: str) -> None:
    layout = Layout.create(tmp_path)
    with pytest.raises(InvalidReference):
        layout.tag(name, A)


def test_an_index_that_would_grow_over_the_limit_is_refused_before_it_is_written(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path)
    big = A.replace(annotations={"x": "y" * (4 << 20)})
    with pytest.raises((LimitExceeded, InvalidDocument)):
        layout.tag("v1", big)
    assert layout.tags() == {}


WRITER = """
import sys
from oci.layout.layout import Layout
from oci.spec import Descriptor, Digest
layout = Layout.create(sys.argv[1], exist_ok=True)
for number in range(int(sys.argv[3])):
    data = f"{sys.argv[2]} {number}".encode()
    digest, size = layout.blobs.put([data])
    layout.tag(f"{sys.argv[2]}-{number}", Descriptor(media_type="text/plain", digest=digest, size=size))
"""


def test_processes_that_write_at_once_all_succeed(tmp_path: Path) -> None:
    """Nobody makes the layout first: even its creation is raced for."""
    target, count = tmp_path / "layout", 25
    root = Path(__file__).parents[2]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(target), name, str(count)], cwd=root)
        for name in ("a", "b", "c")
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    layout = Layout.open(target)
    assert set(layout.tags()) == {f"{name}-{number}" for name in "abc" for number in range(count)}
    assert all(layout.blobs.has(entry.digest) for entry in layout.tags().values())
    assert sorted(path.name for path in target.iterdir()) == ["blobs", "index.json", "oci-layout"]
