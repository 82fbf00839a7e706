"""Which entry a name, a digest or nothing stands for; duplicates, nesting and platforms."""

from __future__ import annotations

from pathlib import Path

import pytest

from oci.errors import LayoutError, NoMatchingPlatform, RefNotFound
from oci.layout.layout import Layout
from oci.spec import Descriptor, Digest, Platform
from tests.support.images import (
    DOCKER_LIST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Json,
    LayoutMaker,
    config,
    descriptor,
    encode,
    index,
    manifest,
    tar_layer,
)

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


class Maker(LayoutMaker):
    """A layout with one image a word, told apart by a file's content."""

    def one(self, word: str, architecture: str = "amd64", **more: str) -> Json:
        return self.image([tar_layer({"word": word.encode()})], architecture=architecture, **more)

    def index_of(self, *entries: Json, media_type: str = OCI_INDEX) -> Json:
        return self.document(index(entries, media_type=media_type), media_type)

    def open(self) -> Layout:
        return Layout.open(self.finish())


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "layout")


def on(entry: Json, platform: str) -> Json:
    os, architecture, *variant = platform.split("/")
    return entry | {"platform": {"os": os, "architecture": architecture} | ({"variant": variant[0]} if variant else {})}


def test_a_tag_is_found_with_its_entry_as_it_stands(maker: Maker) -> None:
    image = maker.one("a")
    maker.tag("v1", image | {"x-extra": 1})
    found = maker.open().resolve("v1")
    assert (str(found.digest), found.extra) == (image["digest"], {"x-extra": 1})


def test_a_tag_that_is_not_there_lists_those_that_are(maker: Maker) -> None:
    maker.tag("v1", maker.one("a"))
    maker.tag(None, maker.one("b"))
    with pytest.raises(RefNotFound, match=r"'v2' not found .* there is: v1, sha256:"):
        maker.open().resolve("v2")


def test_several_tags_on_one_digest_are_one_image(maker: Maker) -> None:
    image = maker.one("a")
    for tag in ("v1", "latest", None):
        maker.tag(tag, image)
    assert str(maker.open().resolve().digest) == image["digest"]


def test_without_a_name_several_images_are_listed_not_guessed(maker: Maker) -> None:
    maker.tag("v1", maker.one("a"))
    maker.tag("v2", maker.one("b"))
    with pytest.raises(LayoutError, match="holds several images; say which: v1, v2"):
        maker.open().resolve()


def test_without_a_name_the_only_tagged_image_beats_untagged_leftovers(maker: Maker) -> None:
    """skopeo leaves an untagged entry behind when a tag moves."""
    tagged = maker.one("new")
    maker.tag(None, maker.one("old"))
    maker.tag("v1", tagged)
    assert str(maker.open().resolve().digest) == tagged["digest"]


def test_an_empty_layout_says_so(maker: Maker) -> None:
    with pytest.raises(LayoutError, match="holds no images"):
        maker.open().resolve()
    with pytest.raises(RefNotFound, match="it holds no tags"):
        maker.open().resolve("v1")


def test_the_same_tag_twice_means_the_first_with_a_warning(maker: Maker) -> None:
    first = maker.one("a")
    maker.tag("v1", first)
    maker.tag("v1", maker.one("b"))
    warnings: list[str] = []
    assert str(maker.open().resolve("v1", warn=warnings.append).digest) == first["digest"]
    assert len(warnings) == 1
    assert "the tag 'v1' is there 2 times" in warnings[0]


def test_the_same_tag_twice_on_one_digest_is_no_conflict(maker: Maker) -> None:
    image = maker.one("a")
    maker.tag("v1", image)
    maker.tag("v1", image)
    warnings: list[str] = []
    maker.open().resolve("v1", warn=warnings.append)
    assert warnings == []


def test_the_same_tag_for_several_platforms_is_chosen_by_platform(maker: Maker) -> None:
    images = {name: maker.one(name, name) for name in ("amd64", "arm64")}
    for name, image in images.items():
        maker.tag("v1", on(image, f"linux/{name}"))
    layout = maker.open()
    assert str(layout.resolve("v1", platform=ARM64).digest) == images["arm64"]["digest"]
    assert str(layout.resolve(platform=ARM64).digest) == images["arm64"]["digest"]
    with pytest.raises(NoMatchingPlatform, match="linux/amd64, linux/arm64"):
        layout.resolve("v1", platform=Platform("linux", "s390x"))


def test_the_full_name_that_containerd_writes_is_understood(maker: Maker) -> None:
    image = maker.one("a")
    named = {"io.containerd.image.name": "docker.io/library/busybox:1.36"}
    maker.tag("1.36", image | {"annotations": named})
    maker.tag("other", maker.one("b"))
    layout = maker.open()
    for name in ("1.36", "busybox:1.36", "library/busybox:1.36", "docker.io/library/busybox:1.36"):
        assert str(layout.resolve(name).digest) == image["digest"], name
    with pytest.raises(RefNotFound):
        layout.resolve("busybox")


def test_tagging_drops_the_name_that_containerd_gave_the_old_tag(maker: Maker) -> None:
    maker.tag("1", maker.one("a") | {"annotations": {"io.containerd.image.name": "docker.io/library/x:1", "k": "v"}})
    layout = maker.open()
    layout.tag("2", layout.resolve("1"))
    assert layout.resolve("2").annotations == {"org.opencontainers.image.ref.name": "2", "k": "v"}


def test_a_digest_is_found_on_top_and_in_nested_indexes(maker: Maker) -> None:
    leaf, top = maker.one("leaf"), maker.one("top")
    inner = maker.index_of(on(leaf, "linux/amd64"))
    maker.tag("v1", maker.index_of(inner))
    maker.tag("v2", top)
    layout = maker.open()
    for entry in (top, inner, leaf):
        assert str(layout.resolve(digest=Digest.parse(entry["digest"])).digest) == entry["digest"]
    with pytest.raises(RefNotFound):
        layout.resolve(digest=Digest.of(b"other"))
    with pytest.raises(RefNotFound):
        layout.resolve("v1", digest=Digest.parse(top["digest"]))


def test_without_a_platform_an_index_is_given_whole(maker: Maker) -> None:
    both = maker.index_of(on(maker.one("a"), "linux/amd64"), on(maker.one("b", "arm64"), "linux/arm64"))
    maker.tag("v1", both)
    assert str(maker.open().resolve("v1").digest) == both["digest"]


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_a_platform_is_chosen_through_nested_indexes(maker: Maker, media_type: str) -> None:
    amd64, arm64 = maker.one("a"), maker.one("b", "arm64", variant="v8")
    inner = maker.index_of(on(arm64, "linux/arm64/v8"), media_type=media_type)
    maker.tag("v1", maker.index_of(on(amd64, "linux/amd64"), inner, media_type=media_type))
    layout = maker.open()
    assert str(layout.resolve("v1", platform=ARM64).digest) == arm64["digest"]
    assert str(layout.resolve("v1", platform=AMD64).digest) == amd64["digest"]
    with pytest.raises(NoMatchingPlatform, match=r"no image for platform linux/riscv64 .*linux/amd64, linux/arm64/v8"):
        layout.resolve("v1", platform=Platform("linux", "riscv64"))


def test_an_image_is_given_as_it_is_whatever_the_platform(maker: Maker) -> None:
    image = maker.one("a", "s390x")
    maker.tag("v1", image)
    assert str(maker.open().resolve("v1", platform=AMD64).digest) == image["digest"]


def test_entries_without_a_platform_are_asked_for_their_config(maker: Maker) -> None:
    amd64, arm64 = maker.one("a"), maker.one("b", "arm64")
    maker.tag("v1", maker.index_of(amd64, arm64))
    layout = maker.open()
    assert str(layout.resolve("v1", platform=ARM64).digest) == arm64["digest"]
    with pytest.raises(NoMatchingPlatform, match="linux/amd64, linux/arm64"):
        layout.resolve("v1", platform=Platform("windows", "amd64"))


def test_entries_without_a_platform_are_asked_for_a_config_that_is_embedded(maker: Maker) -> None:
    made = encode(config([], architecture="arm64"))
    described = descriptor(made, OCI_CONFIG, embed=True)
    image = descriptor(encode(manifest(described, [])), OCI_MANIFEST, embed=True)
    maker.tag("v1", maker.index_of(maker.one("a"), image))
    assert str(maker.open().resolve("v1", platform=ARM64).digest) == image["digest"]
    with pytest.raises(NoMatchingPlatform, match="linux/amd64, linux/arm64"):
        maker.open().resolve("v1", platform=Platform("windows", "amd64"))


def test_attestations_are_never_chosen(maker: Maker) -> None:
    image = maker.one("a")
    about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image["digest"]}
    attestation = on(maker.one("attestation"), "unknown/unknown") | {"annotations": about}
    maker.tag("v1", maker.index_of(attestation, on(image, "linux/amd64")))
    layout = maker.open()
    assert str(layout.resolve("v1", platform=AMD64).digest) == image["digest"]
    with pytest.raises(NoMatchingPlatform, match="there is: linux/amd64; "):
        layout.resolve("v1", platform=Platform("unknown", "unknown"))


def test_a_sparse_index_serves_what_it_has(maker: Maker) -> None:
    """An image that isn't stored is listed and chosen; that it's missing is said by whoever reads it."""
    here, elsewhere = maker.one("a"), maker.one("b", "arm64")
    maker.tag("v1", maker.index_of(on(here, "linux/amd64"), on(elsewhere, "linux/arm64")))
    maker.blob_path(elsewhere["digest"]).unlink()
    layout = maker.open()
    assert str(layout.resolve("v1", platform=AMD64).digest) == here["digest"]
    assert str(layout.resolve("v1", platform=ARM64).digest) == elsewhere["digest"]


def test_an_unknown_media_type_in_index_json_is_listed_and_found(maker: Maker) -> None:
    maker.tag("notes", maker.document({"hello": 1}, "application/xml"))
    maker.tag("v1", maker.one("a"))
    layout = maker.open()
    assert layout.resolve("notes").media_type == "application/xml"
    assert layout.resolve("notes", platform=AMD64).media_type == "application/xml"
    assert list(layout.tags()) == ["notes", "v1"]


def test_an_index_that_holds_itself_ends(maker: Maker) -> None:
    """No digest allows it, but nothing has verified the digest of a stored blob before it is read."""
    liar = Descriptor(media_type=OCI_INDEX, digest=Digest.of(b"liar"), size=9)
    maker.put(b"something", name=str(liar.digest))
    maker.tag("v1", liar.to_json())
    with pytest.raises(Exception, match="digest") as caught:
        maker.open().resolve(digest=Digest.of(b"elsewhere"))
    assert caught.type.__name__ == "DigestMismatch"
