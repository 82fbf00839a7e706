"""One layer as a folder: stacked by the kernel, folders show what the flat unpack of the same image shows."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from oci.drivers.driver import Form
from oci.drivers.layer_folder import LowerLinks, write_layer_folder
from oci.drivers.roots import is_opaque, root_of
from oci.errors import UnpackError, UnsafeEntry
from oci.linux import fsmount
from oci.unpack.rootfs import unpack
from tests.support.layers import TarImage, TarLayer, char, directory, file, hardlink, symlink
from tests.support.namespaces import need_overlay, rootless
from tests.support.stacking import Node, Op, Refused, Unclear, images, members, plain, stack
from tests.support.trees import Facts, differences, snapshot

ROOT = os.geteuid() == 0
FORM: Form = "trusted" if ROOT else "user"


class Folders:
    """The folders of an image's layers, in a place of their own."""

    def __init__(self, place: Path, *, form: Form = FORM, rootless: bool = not ROOT) -> None:
        self.place, self.form, self.rootless = place, form, rootless
        self.paths: list[str] = []
        self.reached: list[bool] = []
        self.warnings: list[str] = []

    def add(self, layer: bytes | TarLayer, *, alone: bool = False) -> Path:
        path = self.place / str(len(self.paths))
        path.mkdir(mode=0o700)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            source = TarLayer(layer) if isinstance(layer, bytes) else layer
            parents = None if alone else self.paths
            warn = self.warnings.append
            self.reached.append(
                write_layer_folder(source, fd, form=self.form, parents=parents, rootless=self.rootless, warn=warn)
            )
        finally:
            os.close(fd)
        self.paths.append(str(path))
        return path

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """The folders as the kernel stacks them, under a scaffold that has nothing."""
        shown = self.paths[max((at for at, path in enumerate(self.paths) if is_opaque(path)), default=0) :]
        scaffold = self.place / "scaffold"
        scaffold.mkdir(exist_ok=True)
        options = {"userxattr": None} if self.form == "user" else {}
        fd = fsmount.overlay([str(scaffold), *shown[::-1]], None, None, options=options, target=None)
        assert fd is not None
        try:
            yield Path(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def seen(root: Path) -> dict[bytes, Facts]:
    """What is there, but for the root itself and which names are one file; a name that isn't there is an error."""
    return snapshot(f"{root}/.", root_entry=False, links=False)


def look(root: Path) -> dict[bytes, Node]:
    """The same as the model has it."""
    found = {b"": Node("dir")}
    for path, facts in seen(root).items():
        content = b""
        if facts["kind"] == "file":
            content = (root / os.fsdecode(path)).read_bytes()
        elif facts["kind"] == "symlink":
            content = facts["target"]  # type: ignore[assignment]
        mode = facts.get("mode")
        found[path] = Node(str(facts["kind"]), content, mode if isinstance(mode, int) else None)
    return found


def compare_random_images(form: Form, *, noted: bool, count: int) -> None:
    """Random images: what the kernel shows of their folders, what a model says, and the flat unpack, are the same."""
    place = Path(tempfile.mkdtemp(prefix="ocikit-folders-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))

    @settings(
        max_examples=count, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(images())
    @example([[Op("file", b"a/b", b"1")], [Op("opaque", b"")]])
    @example([[Op("dir", b"a", mode=0o700)], [Op("file", b"a/b", b"1")]])
    @example([[], [Op("file", b"a/b", b"1"), Op("whiteout", b"a/c")]])
    @example(
        [[Op("file", b"a/a", b"1"), Op("file", b"b", b"1")], [Op("file", b"a", b"2"), Op("hardlink", b"b", b"a/a")]]
    )
    @example([[Op("file", b"a", b"1"), Op("hardlink", b"b", b"a/b"), Op("symlink", b"a", b"/")]])
    def compare(layers: list[list[Op]]) -> None:
        image = TarImage(*map(members, layers))
        shutil.rmtree(place / "layers", ignore_errors=True)
        (place / "layers").mkdir()
        folders = Folders(place / "layers", form=form, rootless=noted)
        try:
            expected = plain(stack(layers))
        except Unclear:
            return
        except Refused:
            with suppress(UnsafeEntry):
                for layer in image.layers:
                    folders.add(layer)
            return
        try:
            for layer in image.layers:
                folders.add(layer)
        except UnsafeEntry:
            with pytest.raises(UnsafeEntry):
                unpack(image, place / "flat", force=True, map_root=noted)
            return
        with folders.mounted() as merged:
            assert plain(look(merged)) == expected
            shown = seen(merged)
        unpack(image, place / "flat", force=True, map_root=noted)
        if plain(look(place / "flat")) == expected:  # it isn't for some links to names that are written twice
            assert differences(seen(place / "flat"), shown) == []

    try:
        compare()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def test_stacked_folders_show_what_the_flat_unpack_shows() -> None:
    need_overlay()
    compare_random_images("trusted", noted=False, count=250)


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "single"])
def test_they_do_in_a_user_namespace(ranges: bool) -> None:
    rootless(compare_random_images, "user", noted=not ranges, count=80, ranges=ranges)


# Marks


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def test_a_whiteout_is_a_device_that_no_listing_shows(folders: Folders) -> None:
    need_overlay()
    folders.add(directory(b"keep/") + file(b"keep/x", b"1"))
    top = folders.add(directory(b"new/") + file(b"new/.wh.never") + file(b"new/there", b"2") + file(b".wh.keep"))
    assert is_whiteout(top / "keep")
    assert is_whiteout(top / "new" / "never")
    with folders.mounted() as merged:
        assert sorted(os.listdir(merged)) == ["new"]
        assert os.listdir(merged / "new") == ["there"]  # the only layer that has the directory


def test_a_directory_that_is_deleted_and_made_again_is_opaque(folders: Folders) -> None:
    need_overlay()
    folders.add(directory(b"a/") + file(b"a/old", b"1"))
    top = folders.add(file(b".wh.a") + directory(b"a/") + file(b"a/new", b"2"))
    assert os.getxattr(top / "a", f"{FORM}.overlay.opaque") == b"y"
    with folders.mounted() as merged:
        assert os.listdir(merged / "a") == ["new"]


def test_a_whiteout_beside_a_file_of_the_same_name_is_none(folders: Folders) -> None:
    top = folders.add(file(b".wh.a") + file(b"a", b"2"))
    assert (top / "a").read_bytes() == b"2"


def test_overlays_own_attributes_never_get_from_a_layer_into_a_folder(folders: Folders) -> None:
    evil = {
        b"trusted.overlay.opaque": b"y",
        b"user.overlay.redirect": b"/etc",
        b"user.fuseoverlayfs.opaque": b"y",
        b"user.containers.override_stat": b"0:0:0777",
    }
    top = folders.add(directory(b"a/", xattrs=evil) + file(b"b", b"1", xattrs={**evil, b"user.fine": b"1"}))
    assert os.listxattr(top / "a") == []
    assert os.listxattr(top / "b") == ["user.fine"]
    assert len(folders.warnings) == len(evil)


@pytest.mark.skipif(not ROOT, reason="devices need root")
def test_a_real_device_0_0_hides_nothing(folders: Folders) -> None:
    need_overlay()
    folders.add(file(b"a", b"1") + file(b"b", b"2"))
    top = folders.add(char(b"a", 0, 0) + hardlink(b"b", b"a") + char(b"c", 1, 3))
    assert not (top / "a").exists()
    assert "character device 0:0" in folders.warnings[0]
    with folders.mounted() as merged:
        assert (merged / "a").read_bytes() == b"1"
        assert (merged / "b").read_bytes() == b"2"
        assert stat.S_ISCHR((merged / "c").stat().st_mode)


def test_a_device_that_can_not_be_made_hides_what_is_below_it() -> None:
    def work() -> None:
        with tempfile.TemporaryDirectory() as place:
            folders = Folders(Path(place), form="user", rootless=False)
            folders.add(file(b"a", b"1"))
            top = folders.add(char(b"a", 1, 3) + hardlink(b"also", b"a"))
            assert is_whiteout(top / "a")
            assert "device" in folders.warnings[0]
            with folders.mounted() as merged:
                assert os.listdir(merged) == []

    rootless(work, ranges=True)


def test_an_owner_outside_the_namespace_is_one_line_that_says_what_to_do() -> None:
    def work() -> str:
        with tempfile.TemporaryDirectory() as place:
            folders = Folders(Path(place), form="user", rootless=False)
            with pytest.raises(UnpackError) as caught:
                folders.add(file(b"var/mail", b"1", uid=70000, gid=8))
            return str(caught.value)

    said = rootless(work, ranges=True)
    assert "'var/mail': its owner 70000:8 is not among the ids of this user namespace; give your user more" in said


# Links into lower layers


def test_a_link_to_a_lower_file_takes_the_file_along(folders: Folders) -> None:
    need_overlay()
    folders.add(
        directory(b"bin/", 0o711) + file(b"bin/tool", b"1", mode=0o4755, mtime=b"7.5", xattrs={b"user.a": b"b"})
    )
    top = folders.add(hardlink(b"one", b"bin/tool") + hardlink(b"two", b"one") + hardlink(b"three", b"bin/tool"))
    assert folders.reached == [False, True]
    names = [top / "one", top / "two", top / "three", top / "bin" / "tool"]
    assert len({path.stat().st_ino for path in names}) == 1
    status = names[0].stat()
    assert (status.st_nlink, status.st_mode & 0o7777, status.st_mtime) == (4, 0o4755, 7.5)
    assert os.getxattr(names[0], "user.a") == b"b"
    assert (top / "bin").stat().st_mode & 0o7777 == 0o711
    with folders.mounted() as merged:
        assert len({(merged / name).stat().st_ino for name in ("one", "two", "three", "bin/tool")}) == 1


def test_a_renamed_link_leaves_its_old_name_deleted(folders: Folders) -> None:
    need_overlay()
    folders.add(file(b"old", b"1"))
    top = folders.add(hardlink(b"new", b"old") + file(b".wh.old"))
    assert is_whiteout(top / "old")
    assert (top / "new").read_bytes() == b"1"
    with folders.mounted() as merged:
        assert os.listdir(merged) == ["new"]


def test_a_link_finds_its_file_over_lower_symbolic_links_inside_the_root(folders: Folders) -> None:
    need_overlay()
    folders.add(directory(b"usr/") + directory(b"usr/lib/") + file(b"usr/lib/x", b"1") + symlink(b"lib", b"/usr/lib"))
    folders.add(symlink(b"way", b"../../lib"))
    top = folders.add(hardlink(b"y", b"way/x"))
    assert (top / "usr/lib/x").stat().st_ino == (top / "y").stat().st_ino
    with folders.mounted() as merged:
        assert (merged / "lib").is_symlink()
        assert (merged / "y").read_bytes() == b"1"


@pytest.mark.parametrize(
    "between",
    [file(b".wh.a"), file(b"a/.wh.x"), file(b"a/.wh..wh..opq"), file(b"a", b"no directory"), symlink(b"a", b"a")],
    ids=["whiteout above", "whiteout", "opaque", "file", "loop"],
)
def test_a_link_to_what_a_layer_between_has_deleted_is_refused(folders: Folders, between: bytes) -> None:
    folders.add(directory(b"a/") + file(b"a/x", b"1"))
    folders.add(between)
    with pytest.raises(UnsafeEntry, match="'y': "):
        folders.add(hardlink(b"y", b"a/x"))


def test_a_link_to_a_lower_directory_is_refused(folders: Folders) -> None:
    folders.add(directory(b"a/"))
    with pytest.raises(UnsafeEntry, match="a hard link to the directory"):
        folders.add(hardlink(b"y", b"a"))


def test_a_link_out_of_the_root_finds_nothing_of_the_host(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    folders.add(symlink(b"up", b"../../../../" + os.fsencode(tmp_path)) + symlink(b"abs", os.fsencode(tmp_path)))
    for target in (b"up/secret", b"abs/secret"):
        with pytest.raises(UnsafeEntry):
            folders.add(hardlink(b"mine", target))
        shutil.rmtree(tmp_path / str(len(folders.paths)))
    assert (tmp_path / "secret").stat().st_nlink == 1


def test_a_layer_that_needs_lower_ones_says_so_when_it_gets_none(folders: Folders) -> None:
    with pytest.raises(LowerLinks):
        folders.add(hardlink(b"b", b"a"), alone=True)
    shutil.rmtree(folders.place / "0")
    folders.add(directory(b"a/") + file(b"a/b", b"1"), alone=True)
    assert folders.reached == [False]


# Directories that a layer doesn't name


def test_a_directory_that_is_only_implied_looks_as_below(folders: Folders) -> None:
    folders.add(directory(b"a/", 0o1777, mtime=b"5", xattrs={b"user.x": b"1"}) + directory(b"a/b/", 0o750, mtime=b"6"))
    top = folders.add(file(b"a/b/c", b"1") + file(b"new/c", b"1"))
    assert folders.reached == [False, True]
    a, b, new = top / "a", top / "a" / "b", top / "new"
    assert [oct(path.stat().st_mode & 0o7777) for path in (a, b, new)] == ["0o1777", "0o750", "0o755"]
    assert [path.stat().st_mtime for path in (a, b, new)] == [5, 6, 0]
    assert os.getxattr(a, "user.x") == b"1"


def test_a_root_that_is_not_named_does_not_count(folders: Folders) -> None:
    named = folders.add(directory(b"./", 0o711) + file(b"a", b"1"))
    top = folders.add(file(b"b", b"1"))
    assert folders.reached == [False, False]
    assert named.stat().st_mode & 0o7777 == 0o711
    assert (top.stat().st_mode & 0o7777, top.stat().st_mtime) == (0o755, 0)
    assert root_of(folders.paths) == str(named)
    assert root_of([str(top)]) is None
