"""Documents and digests that a registry or a mirror tells wrong: of what kind a manifest is, what a tag stands for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from oci.errors import OciError
from oci.layout.layout import Layout
from oci.spec.digest import Digest
from tests.support.hostile import in_time, one_clear_line
from tests.support.images import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, LayoutMaker, descriptor, digest, encode, tar_layer
from tests.support.library import pull, push
from tests.support.places import clean_environment
from tests.support.pulling import repository_of
from tests.support.scripted import ScriptedServer
from tests.support.shelf import Shelf


@pytest.mark.parametrize("kind", ["application/x-what", "image/png", "application/vnd.oci.image.config.v1+json"])
@pytest.mark.parametrize("says_its_type", [True, False])
@pytest.mark.parametrize("by_digest", [True, False])
def test_a_manifest_under_a_type_that_nobody_knows_is_not_copied_without_its_layers(
    server: ScriptedServer, tmp_path: Path, kind: str, says_its_type: bool, by_digest: bool
) -> None:
    """The digest is right, the header isn't: taken for a thing of its own, the image would be there, and empty."""
    shelf, layer, made = Shelf(), tar_layer({"data": b"data"}), encode({"os": "linux", "architecture": "amd64"})
    shelf.blobs = {layer.digest: layer.data, digest(made): made}
    document = {"schemaVersion": 2, "config": descriptor(made, OCI_CONFIG), "layers": [layer.descriptor()]}
    raw = encode({"mediaType": OCI_MANIFEST, **document} if says_its_type else document)
    server.on("GET", "/v2/app/manifests/.*", headers={"Content-Type": kind}, body=raw)
    shelf.serve(server)
    with in_time():
        pull(f"docker://{server.host}/app{f'@{digest(raw)}' if by_digest else ':v1'}", tmp_path / "back")
    layout = Layout.open(tmp_path / "back")
    assert {str(one) for one in layout.blobs.digests()} == {digest(raw), digest(made), layer.digest}
    assert [entry.media_type for entry in layout.index().model.manifests] == [OCI_MANIFEST]


@pytest.mark.parametrize("kind", [OCI_INDEX, OCI_MANIFEST, "application/json", "application/x-what"])
def test_a_manifest_that_is_an_index_too(server: ScriptedServer, tmp_path: Path, kind: str) -> None:
    """CVE-2021-41190: one digest, and two images, by what a header says."""
    maker = LayoutMaker(tmp_path / "from")
    image = maker.image([])
    shelf = Shelf.of(maker.finish())
    both = json.loads(shelf.manifests[image["digest"]][1]) | {"manifests": [image]}
    del both["mediaType"]
    server.on("GET", "/v2/app/manifests/v1", headers={"Content-Type": kind}, body=encode(both))
    shelf.serve(server)
    with in_time(), pytest.raises(OciError, match="both") as caught:
        pull(f"docker://{server.host}/app:v1", tmp_path / "back")
    one_clear_line(caught.value)


def test_what_a_mirror_says_of_a_tag_is_not_what_is_attached_to(server: ScriptedServer, tmp_path: Path) -> None:
    """Attaching writes to the registry: what the tag stands for is asked where it is written, not at a mirror."""
    maker = LayoutMaker(tmp_path / "from")
    ours, theirs = maker.image([]), maker.image([tar_layer({"evil": b"evil"})])
    maker.tag("v1", ours)
    shelf = Shelf.of(maker.finish())
    shelf.serve(server)
    with ScriptedServer() as mirror:
        false = Shelf.of(maker.path)
        false.manifests["v1"] = false.manifests[theirs["digest"]]
        false.serve(mirror)
        _mirrored(tmp_path, server, mirror)
        for more in ([], ["--platform", "linux/amd64"]):
            command = ["attach", f"docker://{server.host}/app:v1", "--type", "a/b", "--annotation", "verdict=good"]
            assert json.loads(_command(tmp_path, *command, *more, "--json"))["subject"] == ours["digest"]
        assert mirror.requests == []


def test_a_mirror_does_not_hide_what_refers_to_an_image(server: ScriptedServer, tmp_path: Path) -> None:
    """A signature that a mirror doesn't list would be missed by nobody: lists are the registry's own."""
    maker = LayoutMaker(tmp_path / "from")
    image = maker.image([])
    maker.tag("v1", image)
    with ScriptedServer() as mirror:
        without = Shelf.of(maker.finish())
        without.referrers_api = True
        without.serve(mirror)
        maker.put(b"{}")
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "a/b", "layers": []}
        document["subject"] = {key: image[key] for key in ("mediaType", "digest", "size")}
        document["config"] = descriptor(b"{}", "application/vnd.oci.empty.v1+json")
        signature = maker.document(document, OCI_MANIFEST)
        shelf = Shelf.of(maker.finish())
        shelf.referrers_api = True
        shelf.serve(server)
        _mirrored(tmp_path, server, mirror)
        name = f"docker://{server.host}/app:v1"
        for more in ([], ["--artifact-type", "a/b"]):
            listed = json.loads(_command(tmp_path, "referrers", name, "--json", *more))["referrers"]
            assert [entry["digest"] for entry in listed] == [signature["digest"]]
        assert mirror.requests == []
        _command(tmp_path, "copy", "--with-referrers", name, f"oci:{tmp_path}/back:v1")
        found = {str(entry.digest) for entry in Layout.open(tmp_path / "back").index().model.manifests}
        assert found == {image["digest"], signature["digest"]}
        assert mirror.paths(), "the image itself comes from there"


def _mirrored(folder: Path, server: ScriptedServer, mirror: ScriptedServer) -> None:
    """Say that the registry has a mirror, for `_command`."""
    there = f'[[registry]]\nlocation = "{server.host}"\n'
    (folder / "registries.conf").write_text(f'{there}[[registry.mirror]]\nlocation = "{mirror.host}"\n')


def _command(folder: Path, *words: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "oci", *words, "--registries-conf", str(folder / "registries.conf")],
        env=clean_environment(folder),
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_subject_does_not_have_us_write_into_a_tag_of_ours(server: ScriptedServer, tmp_path: Path) -> None:
    """The referrers tag is made of the subject's digest: `release:10` would be the tag `release-10`.

    Where a registry lacks the referrers API, who copies such an image would have a stranger's entry in that index.
    """
    maker = LayoutMaker(tmp_path / "from")
    image = maker.image([])
    document = json.loads(maker.blob_path(image["digest"]).read_bytes())
    document["subject"] = {"mediaType": OCI_MANIFEST, "digest": "release:10", "size": 9}
    false = maker.document(document, OCI_MANIFEST)
    maker.tag("v1", false)
    maker.finish()
    ours = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})
    shelf = Shelf()
    shelf.manifests["release-10"] = shelf.manifests[digest(ours)] = (OCI_INDEX, ours)
    shelf.serve(server)
    with in_time(), pytest.raises(OciError, match="release:10") as caught:
        push(tmp_path / "from", f"docker://{server.host}/app:v1")
    one_clear_line(caught.value)
    assert shelf.manifests["release-10"] == (OCI_INDEX, ours)
    with repository_of(server.host) as repository:
        assert list(repository.referrers(Digest.parse("release:10"))) == []
