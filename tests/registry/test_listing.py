"""Lists in pages: all of their names, once, from good servers; an end and one clear error from bad ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from oci.errors import InvalidDocument, LimitExceeded, OciError, ProtocolViolation, RefNotFound, RegistryRefused
from oci.http.link import next_page, parse_links
from oci.registry import listing, pages
from oci.registry.listing import catalog
from oci.registry.repository import Repository
from tests.support.images import LayoutMaker, tar_layer
from tests.support.pulling import fill, repository_of
from tests.support.registries import docker_registry
from tests.support.scripted import Answer, Request, ScriptedServer

LIST = "/v2/app/tags/list"


def page(*tags: object, link: str | None = None, key: str = "tags") -> Answer:
    headers = {"Content-Type": "application/json", **({"Link": link} if link is not None else {})}
    return Answer(200, headers, json.dumps({"name": "app", key: tags}).encode())


def asked(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}


# RFC 8288


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (['</v2/a?n=1>; rel="next"'], [("/v2/a?n=1", {"rel": "next"})]),
        (["<a>;rel=prev, <b>;rel=next"], [("a", {"rel": "prev"}), ("b", {"rel": "next"})]),
        (["<a>;rel=prev", "<b>;rel=next"], [("a", {"rel": "prev"}), ("b", {"rel": "next"})]),
        (['<a,b;c>; title="x, <y>; rel=no \\" z"; rel="first next"'], None),
        (["<a>; REL=Next ; rel=prev"], [("a", {"rel": "Next"})]),
        (["<a> ; crossorigin ; rel = next"], [("a", {"crossorigin": "", "rel": "next"})]),
        (["a; rel=next"], []),
        (["<a; rel=next"], []),
        ([""], []),
        (['<a>; rel="next'], [("a", {"rel": "next"})]),
    ],
)
def test_links_are_read_by_the_rfc(values: Sequence[str], expected: list[tuple[str, dict[str, str]]] | None) -> None:
    if expected is None:
        expected = [("a,b;c", {"title": 'x, <y>; rel=no " z', "rel": "first next"})]
    assert list(parse_links(values)) == expected


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("</v2/app/tags/list?last=b&n=2>; rel=next", "/v2/app/tags/list?last=b&n=2"),
        ("<list?last=b>; rel=next", "/v2/app/tags/list?last=b"),
        ("<?last=b>; rel=next", "/v2/app/tags/list?last=b"),
        ("<https://reg.example:5000/v2/app/tags/list?last=b>; rel=next", "/v2/app/tags/list?last=b"),
        ("<http://REG.example:5000/v2/app/tags/list?last=b>; rel=next", "/v2/app/tags/list?last=b"),
        ("<//reg.example:5000/v2/x?last=b>; rel=next", "/v2/x?last=b"),
        ("</v2/x>", "/v2/x"),
        ("</v2/x>; rel=prev", None),
        ("<>; rel=next", None),
        ("<https://reg.example:5000//evil.example/x>; rel=next", "/evil.example/x"),
    ],
)
def test_a_link_to_the_next_page_is_a_path_on_the_same_host(link: str, expected: str | None) -> None:
    assert next_page([link], page="/v2/app/tags/list?n=2", host="reg.example:5000") == expected


@pytest.mark.parametrize(
    "link",
    [
        "<https://evil.example/v2/app/tags/list>; rel=next",
        "<//evil.example/v2/app/tags/list>; rel=next",
        "<https://reg.example:5001/v2/app/tags/list>; rel=next",
        "<https://reg.example:5000@evil.example/v2/app/tags/list>; rel=next",
        "<file:///etc/passwd>; rel=next",
        "<https://[/x>; rel=next",
        "</v2/a b>; rel=next",
        "</v2/a\u00e9>; rel=next",
        "</v2/x?" + "a" * 20_000 + ">; rel=next",
    ],
)
def test_a_link_elsewhere_is_not_followed(link: str) -> None:
    with pytest.raises(ProtocolViolation):
        next_page([link], page="/v2/app/tags/list?n=2", host="reg.example:5000")


# Tags


def test_a_short_list_is_one_request(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", LIST, page("a", "b", "B"))
    assert list(app.tags()) == ["a", "b", "B"]
    assert server.paths() == [f"{LIST}?n=1000"]


def test_no_tags_are_an_empty_list_or_null(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", LIST, Answer(body=b'{"name":"app","tags":null}'), times=1)
    server.on("GET", LIST, Answer(body=b'{"name":"app"}'), times=1)
    server.on("GET", LIST, page())
    assert [list(app.tags()) for _ in range(3)] == [[], [], []]


@pytest.mark.parametrize("absolute", [False, True])
def test_pages_are_followed_by_their_links(absolute: bool, server: ScriptedServer, app: Repository) -> None:
    base = server.url if absolute else ""
    server.on("GET", rf"{LIST}\?n=1000", page("a", "b", link=f'<{base}{LIST}?last=b&n=2>; rel="next"'))
    server.on("GET", rf"{LIST}\?last=b&n=2", page(link=f'<{base}{LIST}?last=b2&n=2>; rel="next"'))
    server.on("GET", rf"{LIST}\?last=b2&n=2", page("c"))
    assert list(app.tags()) == ["a", "b", "c"]


def test_a_full_page_without_a_link_is_followed_by_its_last_tag(
    server: ScriptedServer, app: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 3)
    names = [f"t{number}" for number in range(8)]

    def some(request: Request) -> Answer:
        query = asked(request)
        rest = [name for name in names if name > query.get("last", "")]
        return page(*rest[: int(query["n"])])

    server.on("GET", LIST, some)
    assert list(app.tags()) == names
    assert server.paths()[-1] == f"{LIST}?n=3&last=t5"


def test_a_server_that_knows_neither_way_gives_its_list_once(
    server: ScriptedServer, app: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 3)
    server.on("GET", LIST, page("a", "b", "c"))
    assert list(app.tags()) == ["a", "b", "c"]
    assert len(server.paths()) == 2


def test_a_link_in_a_circle_is_one_error(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", rf"{LIST}\?n=1000", page("a", link=f"<{LIST}?x=1>; rel=next"))
    server.on("GET", rf"{LIST}\?x=1", page("b", link=f"<{LIST}?n=1000>; rel=next"))
    with pytest.raises(ProtocolViolation, match="round in circles"):
        list(app.tags())
    assert len(server.paths()) == 2


def test_links_that_are_always_new_but_bring_nothing_new_are_one_error(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", LIST, lambda r: page("a", link=f"<{LIST}?x={len(server.paths())}>; rel=next"))
    with pytest.raises(ProtocolViolation, match="round in circles"):
        list(app.tags())
    assert len(server.paths()) < 25


def test_a_list_without_end_ends(server: ScriptedServer, app: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    server.on("GET", LIST, lambda r: page(f"t{len(server.paths())}", link=f"<{LIST}?x={len(server.paths())}>"))
    monkeypatch.setattr(pages, "MAX_PAGES", 20)
    with pytest.raises(LimitExceeded, match="pages of list of tags"):
        list(app.tags())
    monkeypatch.setattr(listing, "MAX_NAMES", 10)
    with pytest.raises(LimitExceeded, match="names in the list of tags"):
        list(app.tags())


@pytest.mark.parametrize("tag", ["a b", "v1\nv2", "../x", "\x1b[31m", 7, ["a"], {}, True, "a" * 129, "café"])
def test_what_is_no_tag_is_refused(tag: object, server: ScriptedServer, app: Repository) -> None:
    server.on("GET", LIST, page("a", tag))
    with pytest.raises(ProtocolViolation, match="no name by the spec's grammar"):
        list(app.tags())


def test_what_some_registries_put_among_tags_is_left_out(server: ScriptedServer, app: Repository) -> None:
    # null: Nexus 3.58 (containers/skopeo#2409); digests: Artifactory (containers/skopeo#2346)
    server.on("GET", LIST, page("a", None, "", "sha256:" + "0" * 64, "b", "a"))
    assert list(app.tags()) == ["a", "b"]


@pytest.mark.parametrize("body", [b"[]", b"nope", b'{"tags":"a"}', b'{"tags":{"a":1}}', b'{"tags":["a"],"tags":[]}'])
def test_what_is_no_list_is_refused(body: bytes, server: ScriptedServer, app: Repository) -> None:
    server.on("GET", LIST, body=body)
    with pytest.raises(InvalidDocument, match="list of tags of 127"):
        list(app.tags())


def test_a_page_that_is_too_long_is_not_read(
    server: ScriptedServer, app: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MAX_LIST", 100)
    server.on("GET", LIST, page(*"abcdefghijklmnopqrstuvwxyz"))
    with pytest.raises(LimitExceeded):
        list(app.tags())


def test_a_repository_that_is_not_there_has_no_tags(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", LIST, status=404, body=b'{"errors":[{"code":"NAME_UNKNOWN"}]}')
    with pytest.raises(RefNotFound, match=f"'app' not found in {server.host}"):
        list(app.tags())


def test_a_registry_that_gives_fewer_at_once_is_asked_without_a_number(server: ScriptedServer, app: Repository) -> None:
    refused = b'{"errors":[{"code":"PAGINATION_NUMBER_INVALID"}]}'
    server.on("GET", rf"{LIST}\?n=1000", status=400, body=refused)
    server.on("GET", rf"{LIST}", page("a", link=f"<{LIST}?last=a&n=1>; rel=next"), times=1)
    server.on("GET", rf"{LIST}\?last=a&n=1", page("b"))
    assert list(app.tags()) == ["a", "b"]
    server.forget()
    server.on("GET", LIST, status=400, body=refused)
    with pytest.raises(OciError):
        list(app.tags())


# Repositories


def test_a_catalog_is_a_list_of_repositories(server: ScriptedServer, app: Repository) -> None:
    server.on(
        "GET", r"/v2/_catalog\?n=1000", page("a/b", "c", link="</v2/_catalog?last=c>; rel=next", key="repositories")
    )
    server.on("GET", r"/v2/_catalog\?last=c", page("d", key="repositories"))
    assert list(catalog(app.client)) == ["a/b", "c", "d"]


@pytest.mark.parametrize("status", [404, 405])
def test_a_registry_without_a_catalog_says_so(status: int, server: ScriptedServer, app: Repository) -> None:
    server.on("GET", "/v2/_catalog", status=status)
    with pytest.raises(RegistryRefused, match="doesn't list its repositories"):
        list(catalog(app.client))


def test_a_real_registry_lists_tags_and_repositories(tmp_path: Path) -> None:
    made = LayoutMaker(tmp_path / "layout")
    made.tag("v1", made.image([tar_layer({"hello": b"hello"})]))
    layout = made.finish()
    with docker_registry(tmp_path, catalog_max=2) as registry, repository_of(registry.host, "b") as repository:
        for name in ("a:v1", "b:v1", "b:v2", "b:v3", "c/d:v1", "e:v1", "f:v1"):
            fill(layout, f"{registry.host}/{name}")
        assert sorted(repository.tags()) == ["v1", "v2", "v3"]
        assert list(catalog(repository.client)) == ["a", "b", "c/d", "e", "f"]
