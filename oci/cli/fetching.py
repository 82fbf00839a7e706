"""How an image gets into the local store: `pull`, and what `create` and `run` do when it isn't there.

A bare NAME means `docker://NAME`, or what an alias of registries.conf says that it stands for; it is kept under that
name. Everything is verified on the way, and the name changes last.
"""

from __future__ import annotations

from oci.cli import sources
from oci.cli.failures import UsageError
from oci.cli.storing import not_stored
from oci.errors import RefNotFound, show
from oci.spec.platform import matches
from oci.spec.reference import RegistryRef, StoreRef, parse_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.cli.session import Session
    from oci.spec.descriptor import Descriptor
    from oci.spec.platform import Platform
    from oci.spec.reference import Reference
    from oci.storage.images import StoredImage
    from oci.storage.store import Store

__all__ = ["POLICIES", "fetch", "image_for", "in_registry", "stored"]

POLICIES = ("missing", "always", "never")


def in_registry(session: Session, reference: StoreRef) -> RegistryRef:
    """What a bare name means in registries; UsageError for what can only be an ID."""
    whole = reference.normalized
    if whole is None:
        raise UsageError(f"{show(reference.name)}: that is an image's ID, and no registry knows it")
    return _alias(session, reference) or whole


def _alias(session: Session, reference: StoreRef) -> RegistryRef | None:
    """What registries.conf says that a short name stands for (containers-registries.conf(5), short names)."""
    from oci.cli.registries import known_conf

    name, separator, tail = reference.name, "", ""
    for mark in ("@", ":"):
        if not separator:
            name, separator, tail = reference.name.partition(mark)
    full = known_conf(session).short_name(name)
    return None if full is None else parse_name(f"{full}{separator}{tail}")


def fetch(
    session: Session, store: Store, reference: Reference, name: str | None, platform: Platform | None
) -> Descriptor:
    """Bring an image into the store under a whole name (None: without one); `platform` None: an index as a whole."""
    from oci.transports.copy import copy
    from oci.transports.from_store import StoreDestination

    with sources.open_source(session, reference) as source:
        source.resolve(platform)  # before anything is made
        with StoreDestination(store, name) as destination, session.progress("pulling") as progress:
            return copy(source, destination, platform=platform, progress=progress, warn=session.warn)


def stored(session: Session, store: Store, reference: StoreRef, platform: Platform | None) -> StoredImage | None:
    """The image of a bare name or ID, by itself or by what it is short for; None when it isn't in the store."""
    from oci.storage import images

    try:
        return images.find(store, reference.name, platform)
    except RefNotFound:
        if reference.normalized is None:
            return None
    alias = _alias(session, reference)
    if alias is None:
        return None
    try:
        return images.find(store, alias.name, platform)
    except RefNotFound:
        return None


def image_for(session: Session, store: Store, text: str, *, policy: str, platform: str | None) -> StoredImage:
    """The image that a container is made of: from the store, brought there first where `policy` says so."""
    from oci.storage import images

    if policy not in POLICIES:
        raise UsageError(f"--pull {show(policy)!r}: not one of {', '.join(POLICIES)}")
    wanted = sources.wanted_platform(platform)
    named = sources.parse(text)
    if isinstance(named, StoreRef):
        found = None if policy == "always" else stored(session, store, named, wanted)
        if found is not None and (platform is None or matches(wanted, found.image.platform) or policy == "never"):
            return _checked(session, found, text, wanted)
        if policy == "never" or named.normalized is None:
            raise not_stored(named.name)
        named = in_registry(session, named)
        lack = "is not in the local store" if found is None else f"in the local store is for {found.image.platform}"
        session.note(f"pulling {named}" if policy == "always" else f"{show(text)} {lack}; pulling {named}")
    name = images.name_for(named)
    if isinstance(named, RegistryRef) and policy != "always":
        found = _known(store, named, wanted)
        if found is not None and (platform is None or matches(wanted, found.image.platform) or policy == "never"):
            return _checked(session, found, text, wanted)
        if policy == "never":
            raise not_stored(named.familiar)
    fetch(session, store, named, name, wanted)
    return _checked(session, images.find(store, name, wanted), text, wanted)


def _known(store: Store, reference: RegistryRef, platform: Platform) -> StoredImage | None:
    from oci.storage import images

    try:
        return images.find(store, reference.name, platform)
    except RefNotFound:
        return None


def _checked(session: Session, found: StoredImage, text: str, wanted: Platform) -> StoredImage:
    """Say it where an image isn't for the wanted platform: what comes later says only `exec format error`."""
    if not matches(wanted, found.image.platform):
        session.warn(f"{show(text)} is for {found.image.platform}, wanted is {wanted}; it may not run here")
    return found
