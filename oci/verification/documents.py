"""The documents of an image or a layout, walked from their entries; the blobs they refer to are collected.

Indexes, manifests and configs are read here, one after the other: they are small. What they refer to beyond documents
becomes `BlobJob`s, which `verify` runs in parallel. A document is read once however many descriptors point to it, but
every descriptor's own claims (size, media type, embedded data, platform) are checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oci.errors import NoMatchingPlatform, OciError, UnsupportedDigest, show
from oci.layout.finding import MAX_ALIKE, Finding, Severity
from oci.spec import media_types
from oci.spec.digest import Digest
from oci.spec.platform import Platform, choose
from oci.spec.wire import MAX_CONFIG, MAX_MANIFEST
from oci.verification.blob import unreadable
from oci.verification.config import ConfigClaims, compare_counts, compare_platform, manifest_rules, read_claims
from oci.verification.grammar import Judged, Kind, judge
from oci.verification.lenient import Target, read_target
from oci.verification.report import Checked

if TYPE_CHECKING:
    from oci.layout.blobs import BlobReader

__all__ = ["MAX_DEPTH", "BlobJob", "DocumentCheck"]

# Real indexes are nested once or twice. Content addressing rules out endless nesting only for blobs that are intact.
MAX_DEPTH = 16


@dataclass(slots=True)
class BlobJob:
    """A blob to be read whole: where it was first referred to, and all that is claimed about it."""

    digest: Digest
    where: str
    size: int  # as stored
    layer: bool = False  # a file system layer, to be walked through
    listed: bool = False  # one of a manifest's layers, of whatever type
    also: int = 0  # further places that refer to it
    media_types: dict[str, str] = field(default_factory=dict)  # media type → the first place that says so
    diff_ids: dict[Digest, str] = field(default_factory=dict)  # claimed diff_id → the place that claims it
    findings: list[Finding] = field(default_factory=list)


class DocumentCheck:
    """Walks documents from the entries it is given; findings come out in the order of the places they are about.

    With a `platform`, of every index only the one entry that fits is followed.
    """

    def __init__(self, blobs: BlobReader, *, platform: Platform | None = None) -> None:
        self._blobs = blobs
        self._platform = platform
        self._order: list[list[Finding]] = [[]]
        self._documents: dict[Digest, Judged | None] = {}
        self._configs: dict[Digest, ConfigClaims] = {}
        self._of_manifest: dict[Digest, ConfigClaims | None] = {}
        self._sizes: dict[Digest, int | None] = {}
        self._path: list[Digest] = []
        self.jobs: dict[Digest, BlobJob] = {}
        self.reached: set[Digest] = set()
        self.checked = Checked()

    def findings(self) -> Iterator[Finding]:
        """All findings of documents and jobs, in the order in which the places were come to.

        Of each code at most MAX_ALIKE at places in one document: an index may list thousands of absent images.
        """
        more: dict[tuple[str, str, Severity], int] = {}
        for some in self._order:
            for finding in some:
                document, pointed, _ = finding.where.partition(" /")
                if pointed:
                    kind = (document, finding.code, finding.severity)
                    more[kind] = more.get(kind, 0) + 1
                    if more[kind] > MAX_ALIKE:
                        continue
                yield finding
        for (document, code, severity), count in more.items():
            if count > MAX_ALIKE:
                yield Finding(code, severity, document, f"and {count - MAX_ALIKE} more like the {MAX_ALIKE} above")

    def add(self, findings: Iterable[Finding]) -> None:
        """Put findings at the present place in the order."""
        self._order[-1].extend(findings)

    def _error(self, code: str, where: str, message: str) -> None:
        self._order[-1].append(Finding.error(code, where, message))

    def index_json(self, raw: bytes) -> dict[str, Any] | None:
        """Check the layout's own index by itself and give its JSON, if it is an object."""
        judged = judge(raw, "index", media_types.INDEX, "index.json")
        self.add(judged.findings)
        self.checked.bytes += len(raw)
        return judged.value

    # What a descriptor says, before anything is read

    def _stored(self, digest: Digest) -> int | None:
        if digest not in self._sizes:
            self._sizes[digest] = self._blobs.size(digest)
        return self._sizes[digest]

    def _usable(self, target: Target) -> bool:
        """Check a descriptor's claims that need no reading; say whether there is something to read."""
        digest = target.digest
        if digest is None:
            return False  # told as a fault of the descriptor
        self.reached.add(digest)
        try:
            digest.hasher()
            stored = self._stored(digest)
        except UnsupportedDigest as error:
            self._error("unsupported-digest", target.where, f"{error}; use sha256")
            return False
        except (OSError, OciError) as error:
            self.add([unreadable(target.where, digest, error)])
            return False
        embedded = target.data is not None and self._embedded(target, target.data, digest)
        if stored is None:
            if not embedded:
                self._missing(target)
            return embedded
        if target.size is not None and stored != target.size:
            self._error(
                "size-mismatch", target.where, f"blob {digest} has {stored} bytes, its descriptor says {target.size}"
            )
        return True

    def _embedded(self, target: Target, data: bytes, digest: Digest) -> bool:
        """Check embedded content (descriptor.md#embedded-content); say whether it can stand in for the blob."""
        if target.size in (None, len(data)) and Digest.of(data, digest.algorithm) == digest:
            return True
        message = (
            f"the embedded data ({len(data)} bytes) is not what the descriptor's size and digest say; leave it out"
        )
        self._error("embedded-data-mismatch", f"{target.where}/data", message)
        return False

    def _missing(self, target: Target) -> None:
        message = f"blob {target.digest} is not here"
        if media_types.is_layer(target.media_type) and target.urls:
            told = f"{message}, so it was not checked; it is to be fetched from its `urls`"
            self.add([Finding.warning("missing-blob", target.where, told)])
        elif self._path and (media_types.is_manifest(target.media_type) or media_types.is_index(target.media_type)):
            told = f"{message}: this is a sparse index; copy it whole, or choose an image that is here with --platform"
            self._error("missing-blob", target.where, told)
        else:
            self._error("missing-blob", target.where, f"{message}; copy or fetch the image again")

    # Reading

    def _read(self, target: Target, digest: Digest, limit: int) -> tuple[bytes, bool] | None:
        """A document's bytes, and whether their digest is right: wrong ones are told of and used all the same."""
        if self._stored(digest) is None and target.data is not None:
            return target.data, True
        chunks: list[bytes] = []
        total = 0
        try:
            with self._blobs.open_raw(target.descriptor) as source:
                for chunk in source:
                    chunks.append(chunk)
                    total += len(chunk)
                    if total > limit:
                        break
        except (OSError, OciError) as error:
            self.add([unreadable(target.where, digest, error)])
            return None
        if total > limit:
            self._error(
                "too-large", target.where, f"document {digest} is larger than {limit} bytes, so it was not read"
            )
            return None
        self.checked.bytes += total
        raw = b"".join(chunks)
        actual = Digest.of(raw, digest.algorithm)
        if actual != digest:
            self._error("digest-mismatch", target.where, altered(digest, actual))
        return raw, actual == digest

    def job(self, target: Target, *, layer: bool) -> BlobJob | None:
        """Have a blob read; one job a blob, whoever refers to it."""
        digest = target.digest
        if not self._usable(target) or digest is None:
            return None
        job = self.jobs.get(digest)
        if job is None:
            stored = self._stored(digest)
            if stored is None:
                return None  # embedded, and checked already
            job = self.jobs[digest] = BlobJob(digest=digest, where=target.where, size=stored)
            self._order += [job.findings, []]
        else:
            job.also += 1
        job.layer = job.layer or layer
        job.media_types.setdefault(target.media_type, target.where)
        return job

    # Following

    def entry(self, target: Target) -> None:
        """Check what an entry of an index points to, and all that is below it."""
        if media_types.is_index(target.media_type) or media_types.is_manifest(target.media_type):
            self._document(target)
        else:
            # An unknown type is no fault (image-index.md); the blob must still be what the descriptor says.
            self.job(target, layer=media_types.is_layer(target.media_type))

    def _document(self, target: Target) -> None:
        digest = target.digest
        if not self._usable(target) or digest is None:
            return
        if digest in self._path:
            self._error("cycle", target.where, f"{digest} contains itself; at least one document was altered")
        elif len(self._path) >= MAX_DEPTH:
            self._error(
                "index-too-deep", target.where, f"more than {MAX_DEPTH} documents within each other; not followed"
            )
        else:
            self._path.append(digest)
            self._follow(target, digest)
            self._path.pop()

    def _follow(self, target: Target, digest: Digest) -> None:
        if digest not in self._documents:
            judged = self._documents[digest] = self._judged(target, digest)
            if judged is not None and judged.value is not None:
                if judged.kind == "index":
                    self._index(judged.value, str(digest))
                else:
                    self._of_manifest[digest] = self._manifest(judged.value, str(digest))
        else:
            judged = self._documents[digest]
            said = judged.value.get("mediaType") if judged is not None and judged.value is not None else None
            if isinstance(said, str) and said != target.media_type:
                message = f"the media type here is {target.media_type}, the document {digest} says {show(said)}"
                self._error("media-type", target.where, message)
        claims = self._of_manifest.get(digest)
        if claims is not None:
            self.add(compare_platform(target, claims.platform, claims.where))

    def _judged(self, target: Target, digest: Digest) -> Judged | None:
        read = self._read(target, digest, MAX_MANIFEST)
        if read is None:
            return None
        kind: Kind = "index" if media_types.is_index(target.media_type) else "manifest"
        judged = judge(read[0], kind, target.media_type, str(digest), place=target.where, altered=not read[1])
        self.add(judged.findings)
        if judged.kind == "manifest":
            self.checked.manifests += 1
        return judged

    def _index(self, value: dict[str, Any], where: str) -> None:
        targets = entries(value, where)
        if self._platform is not None:
            targets = [pick(targets, self._platform, where)] if targets else []
        for target in targets:
            self.entry(target)
        self._subject(value, where)

    def _manifest(self, value: dict[str, Any], where: str) -> ConfigClaims | None:
        config = read_target(value["config"], f"{where} /config") if isinstance(value.get("config"), dict) else None
        listed = value.get("layers")
        layers = [
            read_target(one, f"{where} /layers/{at}")
            for at, one in enumerate(listed if isinstance(listed, list) else ())
        ]
        self.add(manifest_rules(value, config, layers, where))
        claims = None
        if config is not None:
            if media_types.is_config(config.media_type):
                claims = self._config(config)
            else:
                self.job(config, layer=False)
        if claims is not None and isinstance(listed, list):
            self.add(compare_counts(len(layers), claims, where))
        for at, layer in enumerate(layers):
            job = self.job(layer, layer=media_types.is_layer(layer.media_type))
            if job is not None:
                job.listed = True
            if job is not None and claims is not None and claims.diff_ids is not None and at < len(claims.diff_ids):
                diff_id = claims.diff_ids[at]
                if diff_id is not None and job.layer:
                    job.diff_ids.setdefault(diff_id, f"{claims.where} /rootfs/diff_ids/{at}")
        self._subject(value, where)
        return claims

    def _config(self, target: Target) -> ConfigClaims | None:
        digest = target.digest
        if not self._usable(target) or digest is None:
            return None
        if digest not in self._configs:
            read = self._read(target, digest, MAX_CONFIG)
            value = None
            if read is not None:
                judged = judge(read[0], "config", target.media_type, str(digest), altered=not read[1])
                self.add(judged.findings)
                self.checked.configs += 1
                value = judged.value
            self._configs[digest] = read_claims(value, str(digest))
        return self._configs[digest]

    def _subject(self, value: dict[str, Any], where: str) -> None:
        """Follow the manifest that this one is about, if it is here: it need not be (manifest.md, `subject`)."""
        if self._platform is not None or not isinstance(value.get("subject"), dict):
            return
        target = read_target(value["subject"], f"{where} /subject")
        if target.digest is None or not target.digest.supported:
            return
        try:
            here = self._stored(target.digest) is not None
        except (OSError, OciError):
            here = True  # told of when it is read
        if here:
            self.entry(target)


def entries(value: dict[str, Any], where: str) -> list[Target]:
    """The entries of an index, readable or not; `where` names the index."""
    listed = value.get("manifests")
    return [
        read_target(one, f"{where} /manifests/{at}")
        for at, one in enumerate(listed if isinstance(listed, list) else ())
    ]


def pick(targets: list[Target], platform: Platform, where: str) -> Target:
    """The entry that fits a platform best; NoMatchingPlatform if none does."""
    chosen = choose(platform, [target.platform for target in targets])
    if chosen is None:
        raise NoMatchingPlatform(
            str(platform), where, [str(one.platform) for one in targets if one.platform is not None]
        )
    return targets[chosen]


def altered(digest: Digest, actual: Digest) -> str:
    """The sentence of a digest-mismatch."""
    return f"blob {digest} has the digest {actual}: its bytes were changed; fetch or copy it again"
