"""What oras makes, we pull; what we make, oras pulls.

The documents are as the oras command writes them (oras v1.3, cmd/oras/root/push.go and attach.go over oras-go's
pack.go and content/file), made here by hand. Where oras-py is installed beside the tests, it is asked itself.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oci.artifact.files import Draft, File
from oci.artifact.pack import push
from oci.artifact.pull import pull
from oci.registry.settings import Settings
from oci.transports.names import open_destination, open_source
from oci.transports.registries import opener
from tests.support.artifacts import KIND, One, folder, source_of
from tests.support.images import OCI_LAYER_GZIP, OCI_MANIFEST, descriptor, digest, manifest
from tests.support.registries import DockerRegistry, docker_registry

EMPTY = {
    "mediaType": "application/vnd.oci.empty.v1+json",
    "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    "size": 2,
    "data": "e30=",
}
TAR = "application/vnd.oci.image.layer.v1.tar"
TITLE = "org.opencontainers.image.title"


def oras_tar(title: str) -> bytes:
    """A directory as oras-go's tarDirectory has it: names below the title, owner 0, times kept, links as they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, kind, data in (
            (title, tarfile.DIRTYPE, b""),
            (f"{title}/l", tarfile.SYMTYPE, b"sub/x"),
            (f"{title}/sub", tarfile.DIRTYPE, b""),
            (f"{title}/sub/x", tarfile.REGTYPE, b"x"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.mtime, info.mode = kind, 1700000000, 0o755 if kind == tarfile.DIRTYPE else 0o644
            if kind == tarfile.SYMTYPE:
                info.linkname, data = data.decode(), b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_an_artifact_of_oras_push_is_pulled(tmp_path: Path) -> None:
    tree = folder("docs", oras_tar("docs"))
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.unknown.artifact.v1",
        "config": EMPTY,
        "layers": [
            descriptor(b"hi\n", TAR, annotations={TITLE: "sub/hi.txt"}),
            tree.descriptor(),
        ],
        "annotations": {"org.opencontainers.image.created": "2026-01-02T03:04:05Z"},
    }
    source, found = source_of(document, [b"hi\n", tree.data])
    pulled = pull(source, found, str(tmp_path))
    assert pulled.artifact.type == "application/vnd.unknown.artifact.v1"
    assert (tmp_path / "sub/hi.txt").read_text() == "hi\n"
    assert (tmp_path / "docs/l").read_text() == "x"
    assert (tmp_path / "docs/sub/x").stat().st_mtime == 1700000000


def test_a_whole_directory_of_oras_has_no_prefix(tmp_path: Path) -> None:
    """`oras push REF .`: the title is ".", and the names stand there as they are below it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        top = tarfile.TarInfo(".")
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(top)
        info = tarfile.TarInfo("x")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"1"))
    tree = folder(".", buffer.getvalue())
    source, found = source_of(manifest(EMPTY, [tree.descriptor()], artifactType=KIND), [tree.data])
    pull(source, found, str(tmp_path / "out"))
    assert (tmp_path / "out/x").read_text() == "1"


def test_an_artifact_in_the_form_of_oci_1_0_is_pulled(tmp_path: Path) -> None:
    """`oras push --image-spec v1.0 --artifact-type T`, and oras-py: the config's type says what it is."""
    config = descriptor(b"{}", "application/vnd.acme.rocket.config")
    source, found = source_of(manifest(config, [descriptor(b"1", TAR, annotations={TITLE: "a"})]), [b"1"])
    assert pull(source, found, str(tmp_path)).artifact.type == "application/vnd.acme.rocket.config"


def test_we_write_what_oras_writes_but_for_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hi.txt").write_text("hi\n")
    with open_destination("oci:layout:v1") as destination:
        found = push(destination, Draft(files=(File.parse(f"hi.txt:{TAR}"),), created="2026-01-02T03:04:05Z"))
    made = Path("layout/blobs/sha256", found.digest.encoded).read_bytes()
    # oras' bytes for the same: Go's JSON has the fields in the order of its structs, and sorts maps.
    expected = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.unknown.artifact.v1",
        "config": EMPTY,
        "layers": [
            {"mediaType": TAR, "digest": digest(b"hi\n"), "size": 3, "annotations": {TITLE: "hi.txt"}},
        ],
        "annotations": {"org.opencontainers.image.created": "2026-01-02T03:04:05Z"},
    }
    assert made == json.dumps(expected, separators=(",", ":")).encode()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def oras() -> Any:
    client = pytest.importorskip("oras.client", reason="oras-py is not installed; it is no dependency of the tests")
    return client.OrasClient(insecure=True)


def test_oras_py_pulls_ours_and_we_pull_its(
    oras: Any, registry: DockerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("docs/sub").mkdir(parents=True)
    Path("docs/sub/x").write_text("x")
    Path("docs/l").symlink_to("sub/x")
    Path("hi.txt").write_text("hi\n")
    client = opener(Settings())
    ours, theirs = f"{registry.host}/oras/ours:v1", f"{registry.host}/oras/theirs:v1"
    with open_destination(f"docker://{ours}", others=client.destination) as destination:
        push(
            destination,
            Draft(
                files=(
                    File.parse("hi.txt"),
                    File.parse("docs"),
                )
            ),
        )
    oras.pull(target=ours, outdir="by-oras")
    assert Path("by-oras/docs/l").read_text() == "x"
    assert Path("by-oras/hi.txt").read_text() == "hi\n"
    oras.push(target=theirs, files=["hi.txt", "docs"])
    with open_source(f"docker://{theirs}", others=client.source) as source:
        pull(source, source.resolve(), "by-us", unpacking="always")
    assert Path("by-us/docs/l").read_text() == "x"
    assert Path("by-us/hi.txt").read_text() == "hi\n"


def test_what_oras_py_calls_a_directory_is_a_file_unless_asked(tmp_path: Path) -> None:
    data = folder("docs", oras_tar("docs")).data
    one = One(data, OCI_LAYER_GZIP, {TITLE: "docs"})
    source, found = source_of(
        manifest(descriptor(b"{}", "application/vnd.unknown.config.v1+json"), [one.descriptor()]), [data]
    )
    pull(source, found, str(tmp_path / "1"))
    assert (tmp_path / "1/docs").read_bytes() == data
    pull(source, found, str(tmp_path / "2"), unpacking="always")
    assert (tmp_path / "2/docs/sub/x").read_text() == "x"
