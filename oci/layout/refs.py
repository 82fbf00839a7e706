"""From a name, a digest or nothing to one descriptor: how the entries of `index.json` are chosen.

Rules (docs/layouts.md says them for users; image-spec v1.1.1 image-layout.md#indexjson-file leaves them open):

- a NAME is compared with each entry's `org.opencontainers.image.ref.name`; only when none has it, with
  `io.containerd.image.name`, which ctr and BuildKit write (its full form or without the default registry);
- several entries with one name: one digest is no conflict; entries for different platforms are chosen by platform;
  otherwise the first one, as skopeo does, with a warning;
- a DIGEST is looked for among the entries, then in the indexes below them;
- nothing said: the only image. Entries of one digest are one image. Where tagged and untagged entries are mixed
  (skopeo leaves an untagged entry behind when a tag moves) the only tagged one is taken;
- entries that say they are no image to run (attestations, unknown platform) are never chosen by platform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from oci.errors import (
    BlobNotFound,
    InvalidDocument,
    InvalidReference,
    LayoutError,
    NoMatchingPlatform,
    RefNotFound,
    show,
)
from oci.layout.blobs import BlobReader, is_at_hand
from oci.layout.documents import read_config, read_index, read_manifest
from oci.spec import media_types
from oci.spec.annotations import CONTAINERD_NAME, REF_NAME, is_ref_name, is_tag
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.index import Index
from oci.spec.platform import Platform, choose
from oci.spec.reference import parse_name

__all__ = [
    "beside_images",
    "check_name",
    "name_of",
    "narrow",
    "resolve",
    "tagged",
    "untagged",
    "with_entry",
    "with_tag",
    "without_tag",
]

MAX_NESTING = 16  # levels of indexes in indexes; real ones have two
MAX_ENTRIES = 100_000  # entries looked at in one search, all levels together

Warn = Callable[[str], object]


def check_name(name: str) -> str:
    """Give a tag back if the grammar of annotations.md allows it; InvalidReference otherwise. For writing only.

    A registry's tag and a whole image name are taken too (`v1-`, `docker.io/library/my__app:v1`): tools write both.
    """
    if not (is_ref_name(name) or is_tag(name) or _is_image_name(name)):
        raise InvalidReference(
            name, "a tag is letters and digits, with single '-', '.', '_', ':', '@', '+' or '/' between"
        )
    return name


def _is_image_name(name: str) -> bool:
    try:
        return str(parse_name(name)) == f"docker://{name}"
    except InvalidReference:
        return False


def name_of(descriptor: Descriptor) -> str | None:
    """Give an entry's tag, None where it has none."""
    return descriptor.annotations.get(REF_NAME) or None


def tagged(index: Index) -> dict[str, Descriptor]:
    """Give every tag with the entry it stands for: the first one, where a tag is there twice."""
    found: dict[str, Descriptor] = {}
    for entry in index.manifests:
        name = name_of(entry)
        if name is not None:
            found.setdefault(name, entry)
    return found


def resolve(
    index: Index,
    blobs: BlobReader,
    *,
    where: str,
    name: str | None = None,
    digest: Digest | None = None,
    platform: Platform | None = None,
    warn: Warn | None = None,
) -> Descriptor:
    """Choose one descriptor from an index.json; with `platform`, an index is narrowed to one image.

    RefNotFound lists the tags that are there, NoMatchingPlatform the platforms.
    """
    if name is not None:
        entries = _named(index, name, where)
        if digest is not None:
            entries = [entry for entry in entries if entry.digest == digest]
            if not entries:
                raise RefNotFound(f"{name}@{digest}", where, _listing(index.manifests))
        chosen = _pick(entries, platform, f"the tag {show(name)!r}", where, warn)
    elif digest is not None:
        chosen = _by_digest(index, blobs, digest, where)
    else:
        chosen = _only(index, platform, where, warn)
    return chosen if platform is None else narrow(chosen, blobs, platform, where=where)


def _named(index: Index, name: str, where: str) -> list[Descriptor]:
    entries = [entry for entry in index.manifests if entry.annotations.get(REF_NAME) == name]
    if not entries:
        full = {name, f"docker.io/{name}", f"docker.io/library/{name}"}
        entries = [entry for entry in index.manifests if entry.annotations.get(CONTAINERD_NAME) in full]
    if not entries:
        raise RefNotFound(name, where, _listing(index.manifests))
    return entries


def _listing(entries: Iterable[Descriptor]) -> list[str]:
    """What there is to choose from: tags; digests for entries that have none."""
    return list(dict.fromkeys(name_of(entry) or str(entry.digest) for entry in entries))


def _pick(
    entries: Sequence[Descriptor], platform: Platform | None, what: str, where: str, warn: Warn | None
) -> Descriptor:
    """Choose among entries that all carry the wanted name."""
    if len({entry.digest for entry in entries}) == 1:
        return entries[0]
    platforms = [entry.platform for entry in entries]
    if platform is not None and all(p is not None for p in platforms):
        at = choose(platform, platforms)
        if at is None:
            raise NoMatchingPlatform(str(platform), where, [str(p) for p in platforms])
        return entries[at]
    if warn is not None:
        warn(f"{show(where)}: {what} is there {len(entries)} times; taking the first, {entries[0].digest}")
    return entries[0]


def _only(index: Index, platform: Platform | None, where: str, warn: Warn | None) -> Descriptor:
    if not index.manifests:
        raise LayoutError(where, "holds no images")
    for entries in (index.manifests, [entry for entry in index.manifests if name_of(entry) is not None]):
        if len({entry.digest for entry in entries}) == 1:
            return entries[0]
    runnable = [entry for entry in index.manifests if entry.platform is not None and not beside_images(entry)]
    names = {name_of(entry) for entry in index.manifests}
    if platform is not None and len(names) == 1 and runnable:
        return _pick(runnable, platform, "the only name", where, warn)
    listed = _listing(index.manifests)
    more = f" and {len(listed) - 20} more" if len(listed) > 20 else ""
    raise LayoutError(where, f"holds several images; say which: {', '.join(map(show, listed[:20]))}{more}")


def beside_images(descriptor: Descriptor) -> bool:
    """Say whether an entry is something beside the images: an attestation (BuildKit), or of no known platform."""
    if descriptor.annotations.get("vnd.docker.reference.type"):
        return True
    return descriptor.platform is not None and descriptor.platform.os == "unknown"


def _by_digest(index: Index, blobs: BlobReader, digest: Digest, where: str) -> Descriptor:
    for entry in _breadth_first(index, blobs):
        if entry.digest == digest:
            return entry
    raise RefNotFound(str(digest), where, _listing(index.manifests))


def _breadth_first(index: Index, blobs: BlobReader) -> Iterator[Descriptor]:
    """Give all entries of an index and of the indexes below it; those not stored here are left out."""
    level, seen, count = list(index.manifests), set[Digest](), 0
    for _ in range(MAX_NESTING):
        below: list[Descriptor] = []
        for entry in level:
            count += 1
            if count > MAX_ENTRIES:
                return
            yield entry
            if media_types.is_index(entry.media_type) and entry.digest not in seen:
                seen.add(entry.digest)
                below += _children(entry, blobs)
        level = below


def _children(entry: Descriptor, blobs: BlobReader) -> tuple[Descriptor, ...]:
    try:
        return read_index(blobs, entry).model.manifests
    except BlobNotFound:
        return ()


def narrow(descriptor: Descriptor, blobs: BlobReader, platform: Platform, *, where: str) -> Descriptor:
    """Choose one image of an index (nested ones too) by containerd's rules; an image is given back as it is.

    An entry that doesn't say its platform is asked for its config. NoMatchingPlatform lists what is there.
    """
    if not media_types.is_index(descriptor.media_type):
        return descriptor
    top = read_index(blobs, descriptor).model
    leaves = [
        entry
        for entry in _breadth_first(top, blobs)
        if not media_types.is_index(entry.media_type) and not beside_images(entry)
    ]
    platforms = [leaf.platform or _configured_platform(leaf, blobs) for leaf in leaves]
    at = choose(platform, platforms)
    if at is None:
        available = [
            str(p) if p is not None else f"{leaf.digest} (no platform)"
            for p, leaf in zip(platforms, leaves, strict=True)
        ]
        raise NoMatchingPlatform(str(platform), where, list(dict.fromkeys(available)))
    return leaves[at]


def _configured_platform(descriptor: Descriptor, blobs: BlobReader) -> Platform | None:
    if not media_types.is_manifest(descriptor.media_type) or not is_at_hand(blobs, descriptor):
        return None
    config = read_manifest(blobs, descriptor).model.config
    if not media_types.is_config(config.media_type) or not is_at_hand(blobs, config):
        return None
    try:
        return read_config(blobs, config).model.platform
    except InvalidDocument:
        return None


# Editing: pure functions from index to index


def untagged(descriptor: Descriptor) -> Descriptor:
    """Give an entry without its names; other annotations stay."""
    kept = {k: v for k, v in descriptor.annotations.items() if k not in (REF_NAME, CONTAINERD_NAME)}
    return descriptor.replace(annotations=kept)


def with_tag(index: Index, name: str, descriptor: Descriptor) -> Index:
    """Give the index with `name` standing for `descriptor` and for nothing else; other tags are kept.

    The new entry takes the place of the first one of that name, else of an untagged one of that digest, else the end.
    """
    check_name(name)
    if name_of(descriptor) != name:
        descriptor = untagged(descriptor)
    entry = descriptor.replace(annotations={**descriptor.annotations, REF_NAME: name})
    kept = [old for old in index.manifests if name_of(old) != name]
    at = next((i for i, old in enumerate(index.manifests) if name_of(old) == name), None)
    if at is None:
        at = next((i for i, old in enumerate(kept) if old.digest == entry.digest and name_of(old) is None), None)
        if at is not None:
            del kept[at]
    kept.insert(len(kept) if at is None else at, entry)
    return index.replace(manifests=tuple(kept))


def with_entry(index: Index, descriptor: Descriptor) -> Index:
    """Give the index with an untagged entry for `descriptor`, unless one of that digest is there."""
    if any(old.digest == descriptor.digest for old in index.manifests):
        return index
    return index.replace(manifests=(*index.manifests, untagged(descriptor)))


def without_tag(index: Index, name: str, where: str) -> Index:
    """Give the index without the entries of that name; RefNotFound when there is none."""
    kept = tuple(entry for entry in index.manifests if name_of(entry) != name)
    if len(kept) == len(index.manifests):
        raise RefNotFound(name, where, list(tagged(index)))
    return index.replace(manifests=kept)
