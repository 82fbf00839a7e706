"""The `oci-layout` file that marks an image layout and states its version (image-spec v1.1.1 image-layout.md)."""

from __future__ import annotations

from collections.abc import Mapping

from oci.spec.record import Record, field
from oci.spec.wire import Fields, dumps, loads

VERSION = "1.0.0"
MAX_HEADER = 64 * 1024  # the file is 30 bytes long; "MAY include additional fields", but not megabytes of them


class LayoutHeader(Record):
    """The marker's content; whether a version is one we know is for the layout's opener to say."""

    version: str = VERSION
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, raw: bytes) -> LayoutHeader:
        """Read the file's bytes. Raises InvalidDocument or LimitExceeded."""
        fields = Fields(loads(raw, document="oci-layout", limit=MAX_HEADER), document="oci-layout")
        return cls(version=fields.string("imageLayoutVersion"), extra=fields.extra())

    def encode(self) -> bytes:
        """The file's bytes."""
        return dumps({"imageLayoutVersion": self.version, **self.extra})
