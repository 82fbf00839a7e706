"""A config against its manifest, and an index against the config: what has to agree between documents.

Pure comparisons of what could be read; see config.md#properties, manifest.md and image-index.md of image-spec v1.1.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from oci.errors import show
from oci.layout.finding import Finding
from oci.spec import media_types
from oci.spec.digest import Digest
from oci.spec.platform import Platform
from oci.verification.lenient import Target, read_digest, read_platform

__all__ = ["ConfigClaims", "compare_counts", "compare_platform", "manifest_rules", "read_claims"]


@dataclass(frozen=True, slots=True)
class ConfigClaims:
    """What a config says about its image, as far as it can be read; None where it can't be, or says nothing."""

    where: str
    diff_ids: tuple[Digest | None, ...] | None = None
    layers_in_history: int | None = None
    platform: Platform | None = None


def read_claims(value: dict[str, Any] | None, where: str) -> ConfigClaims:
    """Take from a config's JSON what other documents must agree with."""
    if value is None:
        return ConfigClaims(where)
    rootfs, history = value.get("rootfs"), value.get("history")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    steps = [step for step in history if isinstance(step, dict)] if isinstance(history, list) else None
    return ConfigClaims(
        where,
        tuple(read_digest(one) for one in diff_ids) if isinstance(diff_ids, list) else None,
        sum(step.get("empty_layer") is not True for step in steps) if steps else None,
        read_platform(value),
    )


def compare_counts(layers: int, claims: ConfigClaims, manifest: str) -> Iterator[Finding]:
    """The numbers of layers, of diff_ids and of history entries that made a layer."""
    if claims.diff_ids is not None and len(claims.diff_ids) != layers:
        yield Finding.error(
            "layer-count-mismatch",
            f"{claims.where} /rootfs/diff_ids",
            f"{len(claims.diff_ids)} diff_ids for the {layers} layers of manifest {manifest}; build the image again",
        )
    said = claims.layers_in_history
    if said is not None and said != layers:
        where = f"{claims.where} /history"
        message = f"{said} entries without `empty_layer` for the {layers} layers of manifest {manifest}"
        if said > layers:
            yield Finding.error("history-mismatch", where, f"{message}; Docker refuses to load such an image")
        else:
            yield Finding.warning("history-mismatch", where, f"{message}; some layers have no history")


def compare_platform(target: Target, actual: Platform | None, config: str) -> Iterator[Finding]:
    """The platform that an index gives for an image against that of the image's config."""
    claimed = target.platform
    if claimed is None or actual is None or not actual.os or not actual.architecture:
        return  # a signature or another artifact has a config without a platform
    ours, theirs = claimed.normalized(), actual.normalized()
    # A variant that only one side gives is no contradiction: Docker left it out of configs for years.
    variants = {ours.variant, theirs.variant} - {None}
    where = f"{target.where}/platform"
    if (ours.os, ours.architecture) != (theirs.os, theirs.architecture) or len(variants) > 1:
        message = f"the index says {show(str(claimed))}, config {config} says {show(str(actual))}; correct the index"
        yield Finding.error("platform-mismatch", where, message)
    elif len({ours.os_version, theirs.os_version} - {None}) > 1:
        message = (
            f"the index says os.version {show(str(claimed.os_version))}, config {config} {show(str(actual.os_version))}"
        )
        yield Finding.warning("platform-mismatch", where, message)


def manifest_rules(value: dict[str, Any], config: Target | None, layers: list[Target], where: str) -> Iterator[Finding]:
    """What must agree between the fields of one manifest."""
    said = value.get("mediaType")
    docker = said == media_types.DOCKER_MANIFEST
    # Signatures and attestations have image configs too, and no layer of a file system at all.
    image = (
        config is not None
        and media_types.is_config(config.media_type)
        and any(media_types.is_layer(layer.media_type) for layer in layers)
    )
    if config is not None:
        if config.media_type == media_types.EMPTY and not value.get("artifactType"):
            message = "the config is empty, so the manifest must say what it is: add `artifactType`"
            yield Finding.error("artifact-type", where, message)
        if media_types.is_layer(config.media_type) or _is_document(config.media_type):
            yield Finding.error("media-type", config.where, f"{show(config.media_type)} can't be a config")
    for layer in layers:
        if _is_document(layer.media_type) or media_types.is_config(layer.media_type):
            yield Finding.error("media-type", layer.where, f"{show(layer.media_type)} can't be a layer")
        elif image and media_types.is_media_type(layer.media_type) and not media_types.is_layer(layer.media_type):
            message = f"{show(layer.media_type)} is no layer type that ocikit knows; its entries were not checked"
            yield Finding.warning("media-type", layer.where, f"{message}, and unpack refuses it")
    for target in [*([config] if config is not None else []), *layers]:
        family = _family(target.media_type)
        if family is not None and family != docker:
            kinds = ("an OCI", "a Docker") if docker else ("a Docker", "an OCI")
            yield Finding.warning(
                "mixed-media-types",
                target.where,
                f"{kinds[0]} media type, {show(target.media_type)}, in {kinds[1]} manifest; strict tools refuse that",
            )


def _is_document(media_type: str) -> bool:
    return media_types.is_manifest(media_type) or media_types.is_index(media_type)


def _family(media_type: str) -> bool | None:
    """True for Docker's own types, False for OCI's, None for anybody else's."""
    if not (media_types.is_layer(media_type) or media_types.is_config(media_type)):
        return None
    return media_type.startswith("application/vnd.docker.")
