"""Building images: layers, history and diff_ids that agree, one family of documents, equal input, equal digest."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from oci.changeset.compare import compare
from oci.errors import CorruptStream, InvalidInput, LimitExceeded, SourceError, TarError, UnsafeEntry
from oci.image.builder import ImageBuilder
from oci.image.create import Source, append
from oci.image.image import Image
from oci.layout.blobs import MemoryBlobs
from oci.layout.layout import Layout
from oci.spec import media_types
from oci.spec.config import History
from oci.spec.descriptor import Descriptor
from oci.spec.platform import Platform
from oci.tar import Entry, TarReader
from oci.unpack.rootfs import unpack
from oci.verification.verify import verify
from tests.support import images, rawtar
from tests.support.trees import differences, snapshot

ROOT = os.geteuid() == 0
NS = 10**9


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    (path / "d").mkdir(parents=True)
    (path / "d/x").write_text("hello")
    (path / "l").symlink_to("d/x")
    for place in (path / "d/x", path / "d", path):
        place.chmod(0o755)
        os.utime(place, (1_600_000_000, 1_600_000_000))
    os.utime(path / "l", (1_500_000_000, 1_500_000_000), follow_symlinks=False)
    return path


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.create(tmp_path / "layout")


def base_image(path: Path, *, docker: bool = False, **more: Any) -> Image:
    maker = images.LayoutMaker(path)
    kind = images.DOCKER_LAYER_GZIP if docker else images.OCI_LAYER_GZIP
    layers = [images.tar_layer({"etc/": None, "etc/hostname": b"box\n"}, media_type=kind)]
    maker.tag("base", maker.image(layers, docker=docker, **more))
    maker.finish()
    found = Layout.open(path)
    return Image.load(found.blobs, found.resolve("base"))


def layer_entries(image: Image, number: int = -1) -> list[tuple[Entry, bytes]]:
    with image.layers[number].open() as chunks:
        reader = TarReader(chunks)
        return [(entry, b"".join(reader.data())) for entry in reader]


def layer_names(image: Image, number: int = -1) -> list[bytes]:
    return [entry.name for entry, _ in layer_entries(image, number)]


def agree(image: Image) -> None:
    """History, diff_ids and layers tell of the same number of layers."""
    told = [entry for entry in image.config.model.history if not entry.empty_layer]
    assert len(told) == len(image.config.model.diff_ids) == len(image.manifest.model.layers)


def test_a_directory_becomes_an_image_that_holds_in_every_check(tree: Path, layout: Layout, tmp_path: Path) -> None:
    image = ImageBuilder(layout.blobs).add_directory(tree).finish()
    layout.tag("v1", image.descriptor)
    report = verify(layout.path)
    assert [finding.message for finding in report.findings] == []
    agree(image)
    assert image.platform == Platform("linux", "amd64")
    unpack(image, tmp_path / "dest", rootless=not ROOT)
    left, right = (
        snapshot(tree, owners=False, root_entry=False),
        snapshot(tmp_path / "dest", owners=False, root_entry=False),
    )
    assert differences(left, right) == []


@pytest.mark.parametrize(
    ("compression", "media_type"),
    [("gzip", media_types.LAYER_GZIP), ("zstd", media_types.LAYER_ZSTD), ("none", media_types.LAYER_TAR)],
)
def test_each_compression_has_its_media_type_and_one_diff_id(tree: Path, compression: Any, media_type: str) -> None:
    image = ImageBuilder(MemoryBlobs(), compression=compression).add_directory(tree).finish()
    assert image.manifest.model.layers[0].media_type == media_type
    plain = ImageBuilder(MemoryBlobs(), compression="none").add_directory(tree).finish()
    assert image.config.model.diff_ids == plain.config.model.diff_ids
    assert layer_names(image) == [b"d", b"d/x", b"l"]


def test_a_dest_gets_the_sources_attributes_and_the_root_never_does(tree: Path) -> None:
    tree.chmod(0o700)
    image = ImageBuilder(MemoryBlobs()).add_directory(tree, "/opt/app").add_directory(tree).finish()
    assert layer_names(image, 0) == [b"opt/app", b"opt/app/d", b"opt/app/d/x", b"opt/app/l"]
    assert layer_entries(image, 0)[0][0].mode == 0o700
    assert b"" not in layer_names(image, 1)


def test_layers_go_on_top_of_a_base_whose_blobs_stay_where_they_are(tree: Path, tmp_path: Path) -> None:
    base = base_image(tmp_path / "base")
    blobs = MemoryBlobs()
    image = ImageBuilder(blobs, base).add_directory(tree, "/srv").finish()
    agree(image)
    assert image.manifest.model.layers[0] == base.manifest.model.layers[0]
    assert not blobs.has(base.manifest.model.layers[0].digest)
    assert layer_names(image, 0) == [b"etc", b"etc/hostname"]  # read from the base's store
    assert [entry.created_by for entry in image.config.model.history] == ["layer 0", "ocikit append /srv"]


def test_nothing_done_to_a_base_gives_its_very_documents(tmp_path: Path) -> None:
    base = base_image(tmp_path / "base")
    image = ImageBuilder(MemoryBlobs(), base).finish()
    assert image.descriptor.digest == base.descriptor.digest
    assert (image.manifest.raw, image.config.raw) == (base.manifest.raw, base.config.raw)


def test_annotations_alone_leave_the_config_as_it_was(tmp_path: Path) -> None:
    base = base_image(tmp_path / "base")
    image = ImageBuilder(MemoryBlobs(), base).configure(annotations={"org.example": "x"}).finish()
    assert image.config.raw == base.config.raw
    assert image.manifest.model.annotations == {"org.example": "x"}


def test_a_change_of_the_config_is_one_empty_history_entry_and_keeps_the_bases_time(tmp_path: Path) -> None:
    base = base_image(tmp_path / "base", unknown={"kept": 1})
    image = ImageBuilder(MemoryBlobs(), base).configure(env={"A": "b"}, user="u").finish()
    agree(image)
    config = image.config.model
    assert config.created == "2024-01-02T03:04:05Z"
    last = config.history[-1]
    assert (last.created_by, last.empty_layer, last.created) == ("ocikit config env user", True, config.created)
    assert config.extra == {"unknown": {"kept": 1}}
    assert config.run.env == ("PATH=/usr/bin:/bin", "A=b")


def test_a_change_that_changes_nothing_is_none(tmp_path: Path) -> None:
    base = base_image(tmp_path / "base")
    image = ImageBuilder(MemoryBlobs(), base).configure(env={"PATH": "/usr/bin:/bin"}).finish()
    assert image.descriptor.digest == base.descriptor.digest


def test_docker_bases_keep_dockers_types(tree: Path, tmp_path: Path) -> None:
    base = base_image(tmp_path / "base", docker=True)
    image = ImageBuilder(MemoryBlobs(), base).add_directory(tree).configure(user="u").finish()
    assert image.descriptor.media_type == media_types.DOCKER_MANIFEST
    assert image.manifest.model.config.media_type == media_types.DOCKER_CONFIG
    assert {layer.media_type for layer in image.manifest.model.layers} == {media_types.DOCKER_LAYER_GZIP}
    with pytest.raises(InvalidInput, match="convert it to OCI"):
        ImageBuilder(MemoryBlobs(), base, compression="zstd")


def test_layers_that_a_base_has_no_history_of_get_an_entry(tree: Path, tmp_path: Path) -> None:
    base = base_image(tmp_path / "base", history=False)
    image = ImageBuilder(MemoryBlobs(), base).add_directory(tree).finish()
    agree(image)
    assert "no history" in (image.config.model.history[0].comment or "")


def test_history_says_what_it_is_told(tree: Path) -> None:
    builder = ImageBuilder(MemoryBlobs())
    image = builder.add_directory(tree, created_by="make", comment="by hand").configure(user="u", comment="me").finish()
    first, second = image.config.model.history
    assert (first.created_by, first.comment, second.comment) == ("make", "by hand", "me")


# Times


def test_without_a_time_the_image_is_as_old_as_the_newest_file_added(tree: Path) -> None:
    image = ImageBuilder(MemoryBlobs()).add_directory(tree).configure(user="u").finish()
    config = image.config.model
    assert config.created == "2020-09-13T12:26:40Z"
    assert [entry.created for entry in config.history] == [config.created, config.created]


def test_a_given_time_is_the_images_and_each_steps(tree: Path) -> None:
    builder = ImageBuilder(MemoryBlobs(), created=1 * NS, clamp_mtime=1 * NS)
    image = builder.add_directory(tree).configure(user="u").finish()
    config = image.config.model
    assert {config.created, *(entry.created for entry in config.history)} == {"1970-01-01T00:00:01Z"}
    assert {entry.mtime_ns for entry, _ in layer_entries(image)} == {1 * NS}


def test_a_layer_of_nothing_has_no_time_to_give(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    image = ImageBuilder(MemoryBlobs()).add_directory(tmp_path / "empty").finish()
    agree(image)
    assert image.config.model.created is None


@pytest.mark.parametrize("mtime", [2**60, -(2**55)])
def test_times_that_a_document_cannot_say_are_the_nearest_that_it_can(mtime: int) -> None:
    entry = Entry(b"x", mtime_ns=mtime * NS)
    image = ImageBuilder(MemoryBlobs()).add_entries([(entry, ())]).finish()
    assert (image.config.model.created or "")[:4] in ("0000", "9999")


# Archives


def archive(**members: bytes) -> bytes:
    return images.tar({name.replace("__", "/"): data for name, data in members.items()})


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, "zstd"])
def test_archives_are_taken_however_they_are_compressed(tmp_path: Path, compress: Any) -> None:
    data = archive(d__x=b"hello")
    if compress == "zstd":
        import zstandard

        compress = zstandard.compress
    (tmp_path / "a.tar").write_bytes(compress(data))
    plain = ImageBuilder(MemoryBlobs()).add_tar([data]).finish()
    image = ImageBuilder(MemoryBlobs()).add_tar(tmp_path / "a.tar").finish()
    assert image.descriptor == plain.descriptor
    assert [(entry.name, content) for entry, content in layer_entries(image)] == [(b"d/x", b"hello")]


def test_an_archive_is_the_same_layer_whatever_wrote_it(tmp_path: Path) -> None:
    made = []
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as out:
            for name in ("./d/", "./d/é" + "x" * 120):
                info = tarfile.TarInfo(name)
                info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                info.mode, info.mtime, info.uname = 0o755, 12.75, "somebody"
                out.addfile(info)
        made.append(ImageBuilder(MemoryBlobs()).add_tar([buffer.getvalue()]).finish())
    assert made[0].descriptor == made[1].descriptor
    (folder, _), (file, _) = layer_entries(made[0])
    assert (folder.name, file.mtime_ns, file.uname) == (b"d", 12 * NS, b"")


def test_an_archive_is_put_below_its_dest_links_too() -> None:
    data = images.tar(
        [("./", None), ("a", b"1"), ("b", ("hardlink", "./a")), ("s", ("symlink", "/a")), ("d/.wh.x", b"")]
    )
    image = ImageBuilder(MemoryBlobs()).add_tar([data], "/opt").finish()
    found = [(entry.name, entry.kind, entry.linkname) for entry, _ in layer_entries(image)]
    assert found == [
        (b"opt", "dir", b""),
        (b"opt/a", "file", b""),
        (b"opt/b", "hardlink", b"opt/a"),
        (b"opt/s", "symlink", b"/a"),
        (b"opt/d/.wh.x", "file", b""),
    ]


def test_an_archives_owners_modes_and_times_are_as_asked() -> None:
    data = images.tar([("d/", None), ("d/a", b"1"), ("d/b", b"2"), ("s", ("symlink", "x"))])
    builder = ImageBuilder(MemoryBlobs(), clamp_mtime=3 * NS)
    image = builder.add_tar([data], owner=(5, 6), mode="u=rwX,go=", mtime=9 * NS, exclude=["d/b"]).finish()
    found = [(entry.name, entry.mode, entry.uid, entry.gid, entry.mtime_ns) for entry, _ in layer_entries(image)]
    assert found == [
        (b"d", 0o700, 5, 6, 3 * NS),
        (b"d/a", 0o600, 5, 6, 3 * NS),
        (b"s", 0o777, 5, 6, 3 * NS),
    ]


def test_excluding_a_directory_of_an_archive_excludes_what_is_in_it() -> None:
    data = images.tar([("a/b/", None), ("a/b/c", b"1"), ("x", b"")])
    assert layer_names(ImageBuilder(MemoryBlobs()).add_tar([data], exclude=["a"]).finish()) == [b"x"]


def test_attributes_of_one_host_in_an_archive_are_left_out() -> None:
    pax = {"x": {"SCHILY.xattr.user.note": "n", "SCHILY.xattr.trusted.overlay.opaque": "y"}}
    image = ImageBuilder(MemoryBlobs()).add_tar([images.tar({"x": b""}, pax=pax)]).finish()
    assert layer_entries(image)[0][0].xattrs == {b"user.note": b"n"}


@pytest.mark.parametrize("name", ["../x", "a/../../x", ".wh..wh.x", ".wh..", "d/.wh.x/y"])
def test_names_that_no_layer_may_have_are_refused(name: str) -> None:
    with pytest.raises(UnsafeEntry):
        ImageBuilder(MemoryBlobs()).add_tar([images.tar({name: b""})])


def test_what_aufs_left_in_an_archive_is_dropped() -> None:
    data = images.tar([(".wh..wh.aufs", b""), (".wh..wh.plnk/1.2", b""), ("x", b"")])
    assert layer_names(ImageBuilder(MemoryBlobs()).add_tar([data]).finish()) == [b"x"]


def test_a_sparse_member_is_written_plain_up_to_a_limit() -> None:
    def sparse(size: int) -> bytes:
        records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"x")]
        records.append((b"GNU.sparse.realsize", b"%d" % size))
        blocks = b"1\n%d\n3\n" % (size - 3)
        stored = blocks.ljust(512, b"\0") + b"end"
        return rawtar.pax(*records) + rawtar.header(b"x", b"0", len(stored)) + rawtar.data(stored) + rawtar.END

    ((entry, data),) = layer_entries(ImageBuilder(MemoryBlobs()).add_tar([sparse(2000)]).finish())
    assert (entry.size, data) == (2000, bytes(1997) + b"end")
    with pytest.raises(LimitExceeded, match="holes"):
        ImageBuilder(MemoryBlobs()).add_tar([sparse(1 << 40)])


def test_what_is_no_archive_is_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    (tmp_path / "x").write_bytes(b"no tar at all" * 100)
    with pytest.raises(TarError):
        ImageBuilder(blobs).add_tar(tmp_path / "x")
    with pytest.raises(CorruptStream):
        ImageBuilder(blobs).add_tar([gzip.compress(archive(x=b"1"))[:-9]])
    with pytest.raises(SourceError, match="No such file"):
        ImageBuilder(blobs).add_tar(tmp_path / "nothing")
    assert list(blobs.digests()) == []


# Other layers


def test_a_changeset_is_a_layer(tree: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-a", tree, tmp_path / "edited"], check=True)
    (tmp_path / "edited/d/x").unlink()
    (tmp_path / "edited/new").touch()
    builder = ImageBuilder(MemoryBlobs()).add_directory(tree)
    image = builder.add_entries(compare(tree, tmp_path / "edited"), created_by="edit").finish()
    agree(image)
    assert set(layer_names(image)) >= {b"d/.wh.x", b"new"}


def test_a_layer_that_is_stored_already_is_taken_as_it_is() -> None:
    made = images.tar_layer({"x": b""})
    blobs = MemoryBlobs([made.data])
    builder = ImageBuilder(blobs)
    descriptor = Descriptor.from_json(made.descriptor())
    diff_id = ImageBuilder(MemoryBlobs(), compression="none").add_tar([archive(x=b"")]).finish()
    builder.add_layer(descriptor, diff_id.config.model.diff_ids[0], history=History(created_by="elsewhere"))
    agree(image := builder.finish())
    assert image.manifest.model.layers == (descriptor,)
    with pytest.raises(InvalidInput, match="not one of a layer"):
        builder.add_layer(image.descriptor, descriptor.digest)


# `append`


def test_append_makes_one_layer_of_each_source(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(archive(y=b"1"))
    sources = [Source(path=str(tree)), Source(path=str(tmp_path / "a.tar"), dest="/opt")]
    image = append(MemoryBlobs(), None, sources, created_by="both")
    assert [layer_names(image, n) for n in (0, 1)] == [[b"d", b"d/x", b"l"], [b"opt/y"]]
    agree(image)


def test_append_names_a_source_that_is_not_there() -> None:
    with pytest.raises(SourceError, match="nowhere: no such file or directory"):
        append(MemoryBlobs(), None, [Source(path="nowhere")])


def test_a_source_is_read_with_its_dest(tmp_path: Path) -> None:
    odd = tmp_path / "odd:/name"
    odd.parent.mkdir()
    odd.touch()
    assert Source.parse("dir:/opt") == Source(path="dir", dest="/opt")
    assert Source.parse("a:b:/opt") == Source(path="a:b", dest="/opt")
    assert Source.parse("dir") == Source(path="dir", dest="/")
    assert Source.parse(str(odd)) == Source(path=str(odd), dest="/")
    for wrong in ("dir:opt", ":/opt"):
        with pytest.raises(InvalidInput):
            Source.parse(wrong)


# The same digest

MAKE = """
import os, sys
from pathlib import Path
from oci.image.builder import ImageBuilder
from oci.layout.blobs import MemoryBlobs
root, order, threads = Path(sys.argv[1]), sys.argv[2].split(","), int(sys.argv[3])
root.mkdir(mode=0o755, parents=True)
for name in order:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(name.encode() * 100_000)
    path.chmod(0o644)
    os.utime(path, (1_700_000_000, 1_700_000_000))
for path in (root / "d", root):
    path.chmod(0o755)
    os.utime(path, (1_700_000_000, 1_700_000_000))
builder = ImageBuilder(MemoryBlobs(), threads=threads).add_directory(root, "/opt")
image = builder.configure(labels=dict.fromkeys(order, "x"), ports=["80", "81"]).finish()
print(image.descriptor.digest)
"""


def test_the_same_inputs_give_the_same_digest_anywhere(tmp_path: Path) -> None:
    def digest(place: str, order: str, threads: int, *, umask: int, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", MAKE, str(tmp_path / place), order, str(threads)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            umask=umask,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    first = digest("one", "a,d/x,b", 1, umask=0o022, TZ="UTC", PYTHONHASHSEED="1")
    second = digest("else/two", "b,d/x,a", 3, umask=0o077, TZ="Asia/Tokyo", PYTHONHASHSEED="2")
    assert first == second


@pytest.mark.skipif(not ROOT, reason="needs to run as root")
def test_another_users_checkout_gives_the_same_digest(tree: Path) -> None:
    first = ImageBuilder(MemoryBlobs()).add_directory(tree).finish().descriptor
    for place in (tree / "d/x", tree / "d", tree / "l", tree):
        os.chown(place, 1234, 5678, follow_symlinks=False)
    assert ImageBuilder(MemoryBlobs()).add_directory(tree).finish().descriptor == first
