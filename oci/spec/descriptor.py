"""Descriptors: what a piece of content is, its digest and its size (image-spec v1.1.1 descriptor.md)."""

from __future__ import annotations

from collections.abc import Mapping

from oci.errors import InvalidDigest, InvalidDocument
from oci.spec import media_types
from oci.spec.digest import Digest
from oci.spec.platform import Platform
from oci.spec.record import Record, field
from oci.spec.uri import is_uri
from oci.spec.wire import Fields, put

# manifest.md#guidance-for-an-empty-descriptor
EMPTY_JSON = b"{}"


class Descriptor(Record):
    """A reference to content by media type, digest and size (bytes); `extra` holds fields that the spec doesn't name.

    `data` is the content itself where the descriptor embeds it; whether its digest is right is for a verifier to say.
    """

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    data: bytes | None = None
    platform: Platform | None = None
    artifact_type: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)

    @classmethod
    def from_json(cls, value: object, pointer: str = "", *, document: str = "descriptor") -> Descriptor:
        """Read a descriptor object. Raises InvalidDocument with the place of the fault below `pointer`."""
        fields = Fields(value, document=document, pointer=pointer)
        media_type = read_media_type(fields, "mediaType")
        if media_type is None:
            raise fields.missing("mediaType")
        size = fields.integer("size", minimum=0)
        platform = fields.optional_object("platform")
        return cls(
            media_type=media_type,
            digest=read_digest(fields, "digest"),
            size=size,
            urls=_read_urls(fields),
            annotations=fields.optional_string_map("annotations") or {},
            data=_read_data(fields, size),
            platform=None if platform is None else Platform.from_fields(platform, own=True),
            artifact_type=read_media_type(fields, "artifactType"),
            extra=fields.extra(),
        )

    def to_json(self) -> dict[str, object]:
        """The descriptor object, its fields in the spec's order, unknown ones behind them."""
        value: dict[str, object] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        put(value, "urls", list(self.urls) or None)
        put(value, "annotations", dict(self.annotations) or None)
        if self.data is not None:
            import binascii

            value["data"] = binascii.b2a_base64(self.data, newline=False).decode("ascii")
        put(value, "artifactType", self.artifact_type)
        put(value, "platform", None if self.platform is None else self.platform.to_json())
        value.update(self.extra)
        return value


def read_media_type(fields: Fields, name: str) -> str | None:
    """A field that holds a media type name by RFC 6838; None where it is absent."""
    text = fields.optional_string(name)
    if text is not None and not media_types.is_media_type(text):
        raise fields.fault(name, "not a media type name (RFC 6838 section 4.2: type/subtype, no parameters)")
    return text


def read_digest(fields: Fields, name: str) -> Digest:
    """A field that must hold a digest."""
    return parse_digest(fields.string(name), document=fields.document, pointer=fields.place(name))


def parse_digest(text: str, *, document: str, pointer: str) -> Digest:
    """A digest that stands at this place of a document. Raises InvalidDocument."""
    try:
        return Digest.parse(text)
    except InvalidDigest as error:
        raise InvalidDocument(str(error), document=document, pointer=pointer) from None


def read_descriptor(fields: Fields, name: str) -> Descriptor | None:
    """A field that holds a descriptor; None where it is absent."""
    if name not in fields:
        return None
    return Descriptor.from_json(fields.take(name), fields.place(name), document=fields.document)


def read_descriptors(fields: Fields, name: str) -> tuple[Descriptor, ...]:
    """A field that must hold an array of descriptors."""
    place = fields.place(name)
    return tuple(
        Descriptor.from_json(value, f"{place}/{number}", document=fields.document)
        for number, value in enumerate(fields.array(name))
    )


def _read_urls(fields: Fields) -> tuple[str, ...]:
    urls = fields.optional_strings("urls") or ()
    for number, url in enumerate(urls):
        if not is_uri(url):
            place = f"{fields.place('urls')}/{number}"
            raise InvalidDocument("not a URI (RFC 3986)", document=fields.document, pointer=place)
    return urls


def _read_data(fields: Fields, size: int) -> bytes | None:
    text = fields.optional_string("data")
    if text is None:
        return None
    import binascii

    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise fields.fault("data", "not base64 (RFC 4648 section 4)") from None
    if binascii.b2a_base64(data, newline=False).decode("ascii") != text:
        raise fields.fault("data", "not base64 as RFC 4648 section 4 writes it: unused bits are set")
    if len(data) != size:
        raise fields.fault("data", f"holds {len(data)} bytes, but the descriptor's size is {size}")
    return data


# The reference code's DescriptorEmptyJSON: content that means nothing, for places where a descriptor must stand.
EMPTY_DESCRIPTOR = Descriptor(
    media_type=media_types.EMPTY,
    digest=Digest("sha256", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
    size=len(EMPTY_JSON),
    data=EMPTY_JSON,
)
