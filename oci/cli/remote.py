"""`tags` and `delete`, and the parts of `ls`, `tag` and `untag` that are about registries.

Reading asks the registry itself, wherever registries.conf says that it is, and no mirror: a mirror may know some tags
only. Writing goes where the name says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from oci.cli import options, output, sources
from oci.cli.failures import UsageError
from oci.cli.lazily import typer
from oci.cli.session import Session
from oci.errors import InvalidReference, show
from oci.spec.annotations import is_tag
from oci.spec.reference import DEFAULT_REGISTRY, RegistryRef, has_tag, is_host, parse_name

if TYPE_CHECKING:
    from oci.inspect.listing import Row
    from oci.registry.connect import Connected

__all__ = ["delete", "rows_of", "tag_there", "tags", "untag_there"]


def tags(
    context: typer.Context,
    repository: Annotated[
        str,
        typer.Argument(
            metavar="REPO-or-HOST", help="[docker://][HOST[:PORT]/]REPO, or HOST[:PORT] alone.", show_default=False
        ),
    ],
    json: options.Json = False,
) -> None:
    """List the tags of a repository, or the repositories of a registry.

    One name a line, in the registry's order. Of a host alone the repositories are listed, where the registry does that:
    most of one's own do, public ones don't.

    \b
    Example:
      ocikit tags quay.io/podman/hello
      ocikit tags localhost:5000 --json
    """
    from oci.cli.registries import settings_from

    session = Session.of(context)
    host, name = parse_repository(repository)
    settings = settings_from(session, host)
    if name is None:
        from oci.registry.connect import connect_registry
        from oci.registry.listing import catalog

        with connect_registry(host, settings) as client:
            _list(catalog(client), "repositories", {"registry": host}, json)
        return
    from oci.registry.connect import connect_primary

    with connect_primary(RegistryRef(host, name), settings) as places:
        _list(places[0].tags(), "tags", {"repository": f"{host}/{name}"}, json)


def _list(names: Iterator[str], key: str, about: dict[str, str], json: bool) -> None:
    if json:
        output.document({**about, key: list(names)})
        return
    for name in names:
        print(name)  # by the grammar of names there is nothing in it that a terminal could obey


def parse_repository(text: str) -> tuple[str, str | None]:
    """Read HOST, HOST/REPO, docker://… or a short name such as alpine: a host, and a repository where one is named."""
    name = text.removeprefix("docker://").removesuffix("/")
    if names_host(name):
        return (DEFAULT_REGISTRY if name == "index.docker.io" else name), None
    if text.startswith(("oci:", "oci-archive:", "docker-archive:", "./", "../", "/")):
        raise UsageError(f"{show(text)}: this is about registries; `ocikit ls` lists layouts and archives")
    try:
        reference = parse_name(name, text)
    except InvalidReference as error:
        raise UsageError(str(error)) from None
    if _says_which(name):
        raise UsageError(f"{show(text)}: name the repository alone, without a tag or digest")
    return reference.registry, reference.repository


def names_host(name: str) -> bool:
    """Whether a name without docker:// is a host alone: example.org, localhost, registry:5000; redis:7 is an image."""
    host, _, port = name.partition(":")
    plain = "." in host or host == "localhost" or name.startswith("[")
    return is_host(name) and (plain or (port.isdigit() and 3 < len(port) < 6))  # alpine:20240329 is an image


def _says_which(name: str) -> bool:
    """Whether a name has a tag or a digest, and not only the default one."""
    return "@" in name or has_tag(name)


# ls


def rows_of(session: Session, text: str) -> list[Row]:
    """The rows that `ls` shows of docker://HOST/REPO, or of one tag or digest there."""
    from oci.cli.registries import opener
    from oci.transports.registry_rows import tag_rows

    name = text.removeprefix("docker://").removesuffix("/")
    if names_host(name):
        raise UsageError(f"{show(text)} names a registry; `ocikit tags {show(name)}` lists its repositories")
    reference = sources.parse(f"docker://{name}")
    assert isinstance(reference, RegistryRef)
    with (
        opener(session, reference.registry).primary(reference) as source,
        session.progress("listing") as progress,
    ):
        if reference.digest is not None:
            from oci.inspect.listing import rows

            return list(rows((source.resolve(None),), source))
        wanted = (reference.tag,) if _says_which(name) and reference.tag else source.repository.tags()
        if _says_which(name):
            source.resolve(None)  # a tag that isn't there is an error, not an empty list
        return list(tag_rows(source, wanted, progress=progress, warn=session.warn))


# tag, untag


def tag_there(session: Session, text: str, newtag: str) -> None:
    """`tag docker://… NEWTAG`."""
    from oci.registry.management import retag

    reference = _registry(text, "tag")
    tag = _new_tag(newtag, reference)
    with _written(session, reference) as places:
        retag(places[0], reference.digest or reference.tag or "", tag)


def _new_tag(text: str, reference: RegistryRef) -> str:
    """NEWTAG alone, or spelt out as a reference to the same repository."""
    if text.startswith("docker://"):
        target = _registry(text, "tag")
        same = (target.registry, target.repository) == (reference.registry, reference.repository)
        if not same or target.tag is None or target.digest is not None:
            raise UsageError("NEWTAG is a tag in the same repository; `ocikit copy` takes an image elsewhere")
        return target.tag
    if not is_tag(text):
        raise UsageError(f"NEWTAG {show(text)!r}: a tag is 1 to 128 letters, digits, '_', '.' and '-'")
    return text


def untag_there(session: Session, text: str) -> None:
    """`untag docker://…:TAG`."""
    from oci.registry.management import delete_tag

    reference = _registry(text, "untag")
    if reference.tag is None or reference.digest is not None or not _says_which(text.removeprefix("docker://")):
        raise UsageError(f"{show(text)}: say which tag to take away, such as docker://HOST/REPO:v1")
    with _written(session, reference) as places:
        delete_tag(places[0], reference.tag)


def _registry(text: str, what: str) -> RegistryRef:
    reference = sources.parse(text)
    if not isinstance(reference, RegistryRef):
        raise UsageError(f"{show(text)}: {what} works on a registry here: docker://HOST/REPO[:TAG]")
    return reference


def _written(session: Session, reference: RegistryRef) -> Connected:
    from oci.cli.registries import settings_from
    from oci.registry.connect import connect_push

    return connect_push(reference, settings_from(session, reference.registry))


# delete


def delete(
    context: typer.Context,
    reference: Annotated[
        str, typer.Argument(metavar="REF", help="docker://HOST/REPO:TAG or …@DIGEST.", show_default=False)
    ],
    json: options.Json = False,
) -> None:
    """Delete an image from a registry, or a tag.

    A tag is deleted alone where the registry can do that. Where it can't, and for a digest, the manifest goes, with all
    its tags, and those are told. Nothing asks back. Blobs stay until the registry collects them; images of an index
    that is deleted stay too.

    \b
    Example:
      ocikit delete docker://localhost:5000/app:v1
      ocikit delete docker://localhost:5000/app@sha256:4f53… --json
    """
    from oci.registry.management import delete as delete_it

    session = Session.of(context)
    found = sources.parse(reference)
    if not isinstance(found, RegistryRef):
        raise UsageError(
            f"{show(reference)}: delete works on a registry; `rmi` takes images of the local store away, "
            "`untag` and `gc` those of a layout"
        )
    if not _says_which(reference.removeprefix("docker://")):
        raise UsageError(f"{show(reference)}: say which image to delete, such as {show(reference)}:v1")

    with _written(session, found) as places, session.progress("deleting"):
        deleted = delete_it(places[0], found.digest or found.tag or "", abort=places.http.close)
    others = [tag for tag in deleted.tags if tag != found.tag]
    if others:
        session.warn(f"{found.registry}/{found.repository}: with {deleted.digest} went its tags {', '.join(others)}")
    if json:
        output.document(
            {
                "reference": reference,
                "digest": str(deleted.digest),
                "manifest": deleted.manifest,
                "tags": list(deleted.tags),
            }
        )
    elif deleted.manifest:
        session.note(f"deleted {deleted.digest}")
    else:
        session.note(f"deleted the tag {found.tag} of {deleted.digest}")
