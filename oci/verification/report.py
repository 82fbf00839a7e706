"""What `verify` hands back: the findings, how much was checked, and whether it holds.

The JSON form is a contract (`schemas/cli/verify.json`); codes are explained in docs/verify.md, and `CODES` here is the
one list of them, which the docs, the SARIF rules and the tests are held against.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

from oci.layout.finding import ERROR, WARNING, Finding, Severity

__all__ = ["CODES", "ERROR", "WARNING", "Checked", "Finding", "Report", "ReportJson", "Severity"]

CODES: dict[str, str] = {
    "artifact-type": "A manifest with an empty config doesn't say what kind of artifact it is.",
    "bad-descriptor": "A descriptor breaks the rules for its fields.",
    "bad-tag": "A reference name breaks the grammar that the specification recommends.",
    "corrupt-layer": "A layer's bytes can't be decompressed or aren't a tar archive.",
    "cycle": "A document contains itself, directly or through others.",
    "diff-id-mismatch": "A layer's uncompressed bytes have another digest than the config says.",
    "digest-mismatch": "A blob's bytes have another digest than its name says.",
    "duplicate-entry": "A layer holds two entries for one path.",
    "duplicate-json-name": "A JSON object uses one name twice.",
    "duplicate-tag": "Two entries of index.json have the same reference name.",
    "embedded-data-mismatch": "A descriptor's embedded data isn't the content that it describes.",
    "foreign-file": "A file that is no part of an image layout lies in it.",
    "history-mismatch": "The config's history has another number of layers than the manifest.",
    "index-too-deep": "Indexes are nested more deeply than is followed.",
    "invalid-json": "A document isn't the JSON that it has to be.",
    "layer-count-mismatch": "The config lists another number of layers than the manifest.",
    "layout-file": "A file or directory that every image layout has is missing or of the wrong kind.",
    "layout-version": "The layout has no version or one that isn't known.",
    "media-type": "A media type doesn't fit the place or the bytes.",
    "missing-blob": "A blob that is referred to isn't there.",
    "mixed-media-types": "Docker's and OCI's media types are mixed in one document.",
    "platform-mismatch": "An index gives another platform than the image's config.",
    "schema": "A document breaks its JSON Schema or the specification's grammar.",
    "size-mismatch": "A blob has another size than its descriptor says.",
    "too-large": "A document is larger than is read.",
    "unreadable": "The file system or the store refused to read something.",
    "unreferenced-blob": "A blob that nothing in the layout refers to.",
    "unsafe-entry": "A layer entry would leave the root, has a reserved name, or confuses tools.",
    "unsupported-digest": "A digest's algorithm can't be computed here, so the blob can't be checked.",
}


class CheckedJson(TypedDict):
    manifests: int
    configs: int
    layers: int
    bytes: int


class ReportJson(TypedDict):
    """The shape of `verify --json`."""

    ok: bool
    subject: str
    checked: CheckedJson
    problems: list[dict[str, str]]


@dataclass(slots=True)
class Checked:
    """How much was looked at: different blobs of each kind, and the bytes of all of them."""

    manifests: int = 0
    configs: int = 0
    layers: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of `verify` for `subject`, the reference or path as its user wrote it."""

    subject: str
    findings: tuple[Finding, ...] = ()
    checked: Checked = field(default_factory=Checked)

    @property
    def ok(self) -> bool:
        """No errors; warnings may be there."""
        return not self.errors

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == ERROR)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == WARNING)

    def to_json(self) -> ReportJson:
        """The report as `verify --json` prints it."""
        checked = self.checked
        return {
            "ok": self.ok,
            "subject": self.subject,
            "checked": {
                "manifests": checked.manifests,
                "configs": checked.configs,
                "layers": checked.layers,
                "bytes": checked.bytes,
            },
            "problems": [finding.to_json() for finding in self.findings],
        }
