"""Archives of real tools, in every format they write, read by us; ours read by them, and by umoci for Go's reader."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

from oci.tar import DIR, END, FIFO, FILE, HARDLINK, SYMLINK, Entry, TarReader, encode, padding
from tests.support.members import read

STAMP = 1_600_000_000
FRACTION = 123_456_789


def needs(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    deep = root / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    (root / "plain").write_bytes(b"plain\n" * 1000)
    (root / "empty").touch(0o4755)
    (root / "plain").chmod(0o4751)
    os.link(root / "plain", root / "zhard")
    (root / "link").symlink_to("plain")
    os.mkfifo(root / "pipe")
    os.utime(root / "plain", ns=(0, STAMP * 10**9 + FRACTION))
    os.utime(root / "empty", ns=(0, -1_500_000_000))
    return root


def facts(root: Path) -> dict[bytes, tuple[str, int, int, bytes]]:
    """Kind, mode, size and content of everything below root; the later name of two is a hard link."""
    found: dict[bytes, tuple[str, int, int, bytes]] = {b".": (DIR, root.stat().st_mode & 0o7777, 0, b"")}
    for path in root.rglob("*"):
        status = path.lstat()
        name = b"./" + os.fsencode(path.relative_to(root))
        if path.is_symlink():
            found[name] = (SYMLINK, 0, 0, os.readlink(os.fsencode(path)))
        elif path.is_dir():
            found[name] = (DIR, status.st_mode & 0o7777, 0, b"")
        elif path.is_fifo():
            found[name] = (FIFO, status.st_mode & 0o7777, 0, b"")
        else:
            found[name] = (FILE, status.st_mode & 0o7777, status.st_size, path.read_bytes())
    return found


def check(archive: bytes, root: Path, fraction: bool) -> None:
    expected = facts(root)
    seen: dict[bytes, tuple[str, int, int, bytes]] = {}
    times: dict[bytes, int] = {}
    for chunk in (1 << 20, 333):
        for entry, content in read(archive, chunk):
            mode = 0 if entry.kind == SYMLINK else entry.mode
            value: tuple[str, int, int, bytes] = (entry.kind, mode, entry.size, content or entry.linkname)
            if entry.kind == HARDLINK:
                assert entry.size == 0
                value = seen[entry.linkname]
            seen[entry.name] = value
            times[entry.name] = entry.mtime_ns
        assert seen == expected
        assert times[b"./plain"] == STAMP * 10**9 + (FRACTION if fraction else 0)


GNU_TAR = ["v7", "ustar", "oldgnu", "gnu", "posix"]


@pytest.mark.parametrize("form", GNU_TAR)
def test_each_format_of_gnu_tar(form: str, tree: Path) -> None:
    needs("tar")
    os.utime(tree / "empty", (0, 0) if form in ("v7", "ustar") else (0, -2))
    if form in ("v7", "ustar"):
        shutil.rmtree(tree / ("d" * 90)) if form == "v7" else None
    if form == "v7":
        (tree / "pipe").unlink()
    made = subprocess.run(["tar", "-c", f"--format={form}", "-C", str(tree), "."], capture_output=True, check=True)
    check(made.stdout, tree, form == "posix")
    if form in ("gnu", "oldgnu", "posix"):
        assert [entry.mtime_ns for entry, _ in read(made.stdout) if entry.name == b"./empty"] == [-2 * 10**9]


@pytest.mark.parametrize("form", ["ustar", "pax", "gnutar", "v7"])
def test_each_format_of_bsdtar(form: str, tree: Path) -> None:
    needs("bsdtar")
    os.utime(tree / "empty", (0, 0))
    if form == "v7":
        shutil.rmtree(tree / ("d" * 90))
        (tree / "pipe").unlink()
    made = subprocess.run(
        ["bsdtar", "-c", "--format", form, "-f", "-", "-C", str(tree), "."], capture_output=True, check=True
    )
    check(made.stdout, tree, form == "pax")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_format_of_python(form: int, tree: Path) -> None:
    os.utime(tree / "empty", (0, 0))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as out:
        out.add(tree, ".")
    check(buffer.getvalue(), tree, False) if form != tarfile.PAX_FORMAT else read(buffer.getvalue())


def test_incremental_and_labelled_archives_of_gnu_tar(tree: Path, tmp_path: Path) -> None:
    needs("tar")
    arguments = [
        "--format=gnu",
        f"--listed-incremental={tmp_path / 'snapshot'}",
        "--label=a label",
        "-C",
        str(tree),
        ".",
    ]
    made = subprocess.run(["tar", "-c", *arguments], capture_output=True, check=True)
    check(made.stdout, tree, False)


def test_extended_attributes_of_both_tars(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    (root / "f").write_bytes(b"abc")
    values = {b"user.text": b"value", b"user.binary": bytes(range(256)), b"user.empty": b"", b"user.a=b%3D": b"="}
    try:
        for name, value in values.items():
            os.setxattr(root / "f", name, value)
    except OSError:
        pytest.skip("no user.* extended attributes on this file system")
    if shutil.which("tar"):
        made = subprocess.run(["tar", "-c", "--xattrs", "-C", str(root), "f"], capture_output=True, check=True)
        assert read(made.stdout)[0][0].xattrs == values
        out = tmp_path / "out"
        out.mkdir()
        ours = encode(Entry(b"f", size=3, xattrs=values)) + b"abc" + padding(3) + END
        subprocess.run(["tar", "-x", "--xattrs", "-C", str(out)], input=ours, check=True)
        assert {os.fsencode(name): os.getxattr(out / "f", name) for name in os.listxattr(out / "f")} == values
    if shutil.which("bsdtar"):
        os.removexattr(root / "f", b"user.a=b%3D")  # bsdtar writes keys with "=" that it can't read back itself
        del values[b"user.a=b%3D"]
        made = subprocess.run(
            ["bsdtar", "-c", "--xattrs", "--format", "pax", "-f", "-", "-C", str(root), "f"],
            capture_output=True,
            check=True,
        )
        assert read(made.stdout)[0][0].xattrs == values
        out = tmp_path / "out2"
        out.mkdir()
        ours = encode(Entry(b"f", size=3, xattrs=values)) + b"abc" + padding(3) + END
        subprocess.run(["bsdtar", "-x", "--xattrs", "-f", "-", "-C", str(out)], input=ours, check=True)
        assert {os.fsencode(name): os.getxattr(out / "f", name) for name in os.listxattr(out / "f")} == values


def test_sizes_from_eight_gibibytes_on_of_gnu_tar(tmp_path: Path) -> None:
    needs("tar")
    with (tmp_path / "big").open("wb") as out:
        out.truncate((8 << 30) + 1)
    for form in ("gnu", "posix"):
        process = subprocess.Popen(
            ["tar", "-c", f"--format={form}", "-C", str(tmp_path), "big"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        with process.stdout as stream:
            entry = next(TarReader([stream.read(4096)]))
        process.kill()
        process.wait()
        assert (entry.name, entry.size) == (b"big", (8 << 30) + 1)


def test_a_real_directory_lists_as_tar_lists_it(tmp_path: Path) -> None:
    needs("tar")
    source = Path("/usr/share/doc")
    if not source.is_dir():
        pytest.skip("no /usr/share/doc")
    archive = tmp_path / "doc.tar"
    # A sorted part of it, so that the test stays short.
    names = sorted(os.listdir(source))[:60]
    subprocess.run(["tar", "-cf", archive, "-C", str(source), *names], check=True)
    listed = subprocess.run(
        ["tar", "-tvf", archive, "--numeric-owner", "--quoting-style=literal"], capture_output=True, check=True
    ).stdout.splitlines()
    ours = []
    for entry, _ in read(archive.read_bytes()):
        size = b"%d" % entry.size
        name = entry.name + (b"/" if entry.kind == DIR else b"")
        tail = {SYMLINK: b" -> ", HARDLINK: b" link to "}.get(entry.kind, b"") + entry.linkname
        ours.append((b"%d/%d" % (entry.uid, entry.gid), size, name + tail))
    theirs = [(line.split()[1], line.split()[2], line.split(None, 5)[5]) for line in listed]
    assert ours == theirs
    assert len(ours) > 60


def test_umoci_unpacks_what_we_write(tmp_path: Path) -> None:
    """Go's archive/tar, by way of the OCI tool that uses it."""
    needs("umoci")
    bad = b"\xff\xfe-latin\xe9"
    entries = [
        Entry(b"dir", DIR, mtime_ns=STAMP * 10**9 + FRACTION),
        Entry(b"dir/plain", size=3, mtime_ns=-1_500_000_000),
        Entry(b"dir/" + b"s" * 90 + b"/" + b"t" * 90, size=3),
        Entry("dir/ünï".encode(), size=3),
        Entry(b"dir/" + bad, size=3),
        Entry(b"dir/" + bad * 12, size=3),
        Entry(b"dir/link", SYMLINK, linkname=bad * 12),
        Entry(b"dir/hard", HARDLINK, linkname=b"dir/" + bad * 12),
        Entry(b"dir/attr", size=3, xattrs={b"user.a": b"\0\xff"}),
    ]
    layer = b"".join(encode(e) + (b"abc" + padding(3) if e.kind == FILE else b"") for e in entries) + END
    layout = tmp_path / "layout"
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(content: bytes, media_type: str) -> dict[str, object]:
        digest = sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    oci = "application/vnd.oci.image"
    layer_descriptor = put(layer, f"{oci}.layer.v1.tar")
    rootfs = {"type": "layers", "diff_ids": [layer_descriptor["digest"]]}
    config = put(
        json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode(), f"{oci}.config.v1+json"
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{oci}.manifest.v1+json",
        "config": config,
        "layers": [layer_descriptor],
    }
    described = put(json.dumps(manifest).encode(), f"{oci}.manifest.v1+json")
    described["annotations"] = {"org.opencontainers.image.ref.name": "t"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    out = tmp_path / "bundle"
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    run = subprocess.run(
        ["umoci", "raw", "unpack", *rootless, "--image", f"{layout}:t", str(out)], capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr.decode(errors="replace")
    base = os.fsencode(out)
    for entry in entries:
        path = base + b"/" + entry.name
        if entry.kind == SYMLINK:
            assert os.readlink(path) == entry.linkname
        elif entry.kind == FILE:
            with open(path, "rb") as opened:
                assert opened.read() == b"abc"
            assert os.lstat(path).st_mtime_ns == entry.mtime_ns
    assert os.lstat(base + b"/dir/hard").st_nlink == 2
    assert b"user.a" not in os.listxattr(base + b"/dir/attr") or os.getxattr(base + b"/dir/attr", "user.a") == b"\0\xff"
