"""Tags given and taken, images deleted: what registries answer to a DELETE, and what is made of it."""

from __future__ import annotations

import pytest

from oci.errors import AuthenticationFailed, InvalidDocument, OciError, RefNotFound, RegistryRefused
from oci.registry.management import Deleted, delete, delete_tag, in_parallel, retag, tags_of
from oci.registry.repository import Repository
from oci.spec import media_types
from oci.spec.digest import Digest
from tests.support.scripted import ScriptedServer

MANIFEST = b'{"schemaVersion":2,"config":{},"layers":[]}'
OTHER = b'{"schemaVersion":2,"manifests":[]}'
DIGEST = Digest.of(MANIFEST)


def nothing() -> None:
    raise AssertionError("nobody interrupts")


def has(server: ScriptedServer, tags: str = '["v1","v2","other"]') -> None:
    """v1 and v2 are one image, `other` is another."""
    headers = {"Content-Type": media_types.MANIFEST}
    server.on("(GET|HEAD)", f"/v2/app/manifests/(v[12]|{DIGEST})", body=MANIFEST, headers=headers)
    server.on("(GET|HEAD)", "/v2/app/manifests/.*", body=OTHER, headers={"Content-Type": media_types.INDEX})
    server.on("GET", "/v2/app/tags/list.*", body=b'{"name":"app","tags":%s}' % tags.encode())


def test_a_tag_goes_alone_where_the_registry_can(server: ScriptedServer, app: Repository) -> None:
    has(server)
    server.on("DELETE", "/v2/app/manifests/v1", status=202)
    assert delete(app, "v1", abort=nothing) == Deleted(digest=DIGEST, tags=("v1",), manifest=False)
    assert server.paths("DELETE") == ["/v2/app/manifests/v1"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b'{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match"}]}'),  # distribution 2.8
        (400, b'{"errors":[{"code":"UNSUPPORTED"}]}'),
        (405, b'{"errors":[{"code":"UNSUPPORTED"}]}'),  # the spec's own
        (404, b"no such address"),
        (501, b""),
    ],
)
def test_where_it_can_not_the_image_goes_with_all_its_tags(
    status: int, body: bytes, server: ScriptedServer, app: Repository
) -> None:
    has(server)
    server.on("DELETE", "/v2/app/manifests/v1", status=status, body=body)
    server.on("DELETE", f"/v2/app/manifests/{DIGEST}", status=202)
    assert delete(app, "v1", abort=nothing) == Deleted(digest=DIGEST, tags=("v1", "v2"), manifest=True)
    assert server.paths("DELETE")[-1] == f"/v2/app/manifests/{DIGEST}"


@pytest.mark.parametrize(("status", "error"), [(403, AuthenticationFailed), (409, RegistryRefused)])
def test_another_refusal_ends_it(status: int, error: type[OciError], server: ScriptedServer, app: Repository) -> None:
    has(server)
    server.on("DELETE", ".*", status=status, body=b'{"errors":[{"code":"DENIED","message":"tag is immutable"}]}')
    with pytest.raises(error):
        delete(app, "v1", abort=nothing)
    assert server.paths("DELETE") == ["/v2/app/manifests/v1"]


def test_a_tag_that_somebody_else_deletes_meanwhile_costs_no_image(server: ScriptedServer, app: Repository) -> None:
    headers = {"Content-Type": media_types.MANIFEST}
    server.on("GET", "/v2/app/manifests/v1", body=MANIFEST, headers=headers)
    server.on("HEAD", "/v2/app/manifests/v1", status=404)
    server.on("DELETE", ".*", status=404)
    with pytest.raises(RefNotFound):
        delete(app, "v1", abort=nothing)
    assert server.paths("DELETE") == ["/v2/app/manifests/v1"]


def test_what_is_not_there_is_not_deleted(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", ".*", status=404)
    for reference in ("v1", DIGEST):
        with pytest.raises(RefNotFound):
            delete(app, reference, abort=nothing)
    with pytest.raises(RefNotFound):
        delete_tag(app, "v1")
    assert server.paths("DELETE") == []


def test_a_digest_goes_with_its_tags_and_a_list_of_tags_that_is_gone_has_none(
    server: ScriptedServer, app: Repository
) -> None:
    server.on("GET", "/v2/app/tags/list.*", status=404)
    has(server)
    server.on("DELETE", ".*", status=202)
    assert delete(app, DIGEST, abort=nothing) == Deleted(digest=DIGEST, tags=(), manifest=True)
    assert server.paths("DELETE") == [f"/v2/app/manifests/{DIGEST}"]


def test_untag_never_falls_back_to_the_image(server: ScriptedServer, app: Repository) -> None:
    has(server)
    server.on("DELETE", ".*", status=405)
    with pytest.raises(RegistryRefused, match="deleting a tag is not possible"):
        delete_tag(app, "v1")
    assert server.paths("DELETE") == ["/v2/app/manifests/v1"]


def test_retag_sends_the_bytes_as_they_are(server: ScriptedServer, app: Repository) -> None:
    has(server)
    server.on("PUT", "/v2/app/manifests/new", status=201, headers={"Docker-Content-Digest": str(DIGEST)})
    assert retag(app, "v1", "new") == DIGEST
    [put] = [one for one in server.requests if one.method == "PUT"]
    assert put.body == MANIFEST
    assert put.headers["content-type"] == media_types.MANIFEST


def test_what_the_registry_names_by_a_wrong_type_gets_no_new_tag(server: ScriptedServer, app: Repository) -> None:
    raw = MANIFEST.replace(b"{", b'{"mediaType":"%s",' % media_types.MANIFEST.encode(), 1)
    server.on("GET", "/v2/app/manifests/v1", body=raw, headers={"Content-Type": media_types.DOCKER_MANIFEST})
    with pytest.raises(InvalidDocument, match="mediaType"):
        retag(app, "v1", "new")
    assert server.paths("PUT") == []


def test_a_tag_without_a_manifest_stands_for_nothing(server: ScriptedServer, app: Repository) -> None:
    server.on("(GET|HEAD)", "/v2/app/manifests/ghost", status=404)
    has(server, '["ghost","v2"]')
    assert tags_of(app, DIGEST, abort=nothing) == ("v2",)


def test_things_asked_in_parallel_come_in_their_order_and_the_first_error_ends_it() -> None:
    assert list(in_parallel(lambda n: n * n, range(50), abort=nothing)) == [(n, n * n) for n in range(50)]
    assert list(in_parallel(str, [], abort=nothing)) == []

    def picky(number: int) -> int:
        if number == 3:
            raise RefNotFound("three", "here", None)
        return number

    answers = in_parallel(picky, range(50), abort=nothing)
    assert [next(answers)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RefNotFound):
        next(answers)


def test_an_interrupt_ends_what_waits() -> None:
    aborted: list[bool] = []
    answers = in_parallel(str, range(20), abort=lambda: aborted.append(True))
    next(answers)
    with pytest.raises(KeyboardInterrupt):
        answers.throw(KeyboardInterrupt())  # type: ignore[attr-defined]
    assert aborted == [True]
