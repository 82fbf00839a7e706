"""What others say and we pass on: secrets that are repeated, names that become paths, referrers of something else."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from oci.cli import sources
from oci.cli.failures import UsageError
from oci.cli.logins import parse_registry
from oci.cli.remote import parse_repository
from oci.errors import ConfigurationError, OciError
from oci.http.settings import Proxies
from oci.layout.layout import Layout
from oci.registry.registries_conf import RegistriesConf
from oci.spec.digest import Digest
from oci.spec.reference import parse_reference
from oci.transports.copy import copy
from oci.transports.copy_list import Sync, read_list
from oci.transports.copy_many import copy_many
from oci.transports.names import open_destination, open_source
from oci.transports.places import OpenPlaces
from oci.transports.registries import opener
from tests.support.credential_programs import Programs
from tests.support.hostile import in_time, name, one_clear_line
from tests.support.images import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, Json, LayoutMaker, descriptor, encode, manifest
from tests.support.library import pull, settings
from tests.support.scripted import Answer, ScriptedServer
from tests.support.shelf import JSON, Shelf, refused

# Secrets


@pytest.mark.parametrize("password", ["a<b>&c-very-secret", "pass\u00e9-very-secret", 'quo"te\\-very-secret'])
@pytest.mark.parametrize("escaped", ["\\u%04x", None])
def test_a_password_that_is_repeated_with_escapes(
    server: ScriptedServer, tmp_path: Path, password: str, escaped: str | None
) -> None:
    """Go writes < as \\u003c, Python all that is not ASCII: who looks at the bytes alone doesn't find the secret."""
    said = (
        "".join(escaped % ord(c) for c in password) if escaped else json.dumps(password)[1:-1].replace("<", "\\u003c")
    )
    body = f'{{"errors":[{{"code":"UNAUTHORIZED","message":"no user alice:{said}"}}]}}'.encode()
    server.on(".*", "/v2/.*", Answer(401, {**JSON, "WWW-Authenticate": 'Basic realm="x"'}, body))
    with in_time(), pytest.raises(OciError) as caught:
        pull(name(server), tmp_path / "victim", settings(login=("alice", password)))
    assert "very-secret" not in one_clear_line(caught.value)
    assert password[:6] not in str(caught.value)


@pytest.mark.parametrize("refresh", ["a/b+c==very-secret", "plain-very-secret"])
@pytest.mark.parametrize(
    "before", ["", "I have to tell you what I got, in so many words that it lies far behind. " * 3]
)
def test_a_form_that_a_token_service_repeats(server: ScriptedServer, tmp_path: Path, refresh: str, before: str) -> None:
    """What was sent is a form, and in it the secret has other characters than ours."""
    challenge = f'Bearer realm="{server.url}/token",service="s"'
    server.on("GET", "/v2/.*", refused(401, "UNAUTHORIZED", WWW_Authenticate=challenge))

    def repeated(request: object) -> Answer:
        words = before + request.body.decode()  # type: ignore[attr-defined]
        return Answer(400, JSON, json.dumps({"error": "invalid_grant", "error_description": words}).encode())

    server.on("POST", "/token", repeated)
    with in_time(), pytest.raises(OciError) as caught:
        pull(name(server), tmp_path / "victim", settings(refresh=refresh))
    assert "very-secret" not in one_clear_line(caught.value)


@pytest.mark.parametrize("layout", ['{"ServerURL":"x","Username":"u","Secret":"hunter2"}', '\n {"Secret":\n"hunter2"}'])
def test_a_helper_that_gives_the_secret_and_fails(tmp_path: Path, layout: str) -> None:
    """A wrapper with `set -e` around a helper: what is on stdout is the secret, and not why it failed."""
    programs = Programs(tmp_path / "bin")
    programs.add("half", f"#!/bin/sh\necho '{layout}'\necho why >&2\nexit 3\n")
    with pytest.raises(ConfigurationError) as caught:
        programs.helpers.get("half", "quay.io")
    assert "hunter2" not in str(caught.value)
    assert "why" in str(caught.value)


@pytest.mark.parametrize("said", ["prox:proxy-very-secret", base64.b64encode(b"prox:proxy-very-secret").decode()])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_repeats_its_password(server: ScriptedServer, tmp_path: Path, said: str, scheme: str) -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": f"not {said}"}]}).encode()
    server.on(".*", ".*", Answer(407, JSON, body, reason=f"Not {said}"))
    proxies = Proxies(**{scheme: f"http://prox:proxy-very-secret@{server.host}"})
    with in_time(), pytest.raises(OciError, match="proxy") as caught:
        pull("docker://registry.example/app:v1", tmp_path / "victim", settings(proxies=proxies, plain_http=True))
    assert server.requests
    assert said not in one_clear_line(caught.value)


@pytest.mark.parametrize("before", ["docker://", "https://", ""])
@pytest.mark.parametrize("host", ["reg.example", "reg.example:5000", "[::1]:5000"])
@pytest.mark.parametrize("password", ["hunter2", "hunter@2", "hunter2:x"])
def test_a_password_in_a_reference_is_not_told(before: str, host: str, password: str) -> None:
    """As people have it in URLs: it is refused, and would stand in the log of the job."""
    text = f"{before}user:{password}@{host}"
    for read in (
        lambda: parse_reference(f"{text}/app:v1"),
        lambda: sources.parse(f"{text}/app:v1"),
        lambda: parse_repository(f"{text}/app"),
        lambda: parse_registry(text),
        lambda: read_list(f"{text}/app:v1 oci:x:v1".encode(), "list", toml=False),
        lambda: read_list(f'[[sync]]\nsource = "{text}/app"\ndestination = "oci:x"'.encode(), "x.toml", toml=True),
    ):
        with pytest.raises((OciError, UsageError)) as caught:
            read()
        assert "hunter" not in str(caught.value)
        assert host in str(caught.value)


# What may not be asked


@pytest.mark.parametrize(
    "host", ["bad.example", "BAD.example", "bad.example:443", "Bad.Example:443", "x.worse.example:443"]
)
@pytest.mark.parametrize("pull", [True, False])
def test_what_is_blocked_is_blocked_by_each_of_its_names(host: str, pull: bool) -> None:
    blocked = [{"location": "bad.example", "blocked": True}, {"prefix": "*.worse.example", "blocked": True}]
    conf = RegistriesConf().updated({"registry": blocked}, "conf")
    with pytest.raises(ConfigurationError, match="blocked"):
        conf.endpoints(host, "a/b", tag="v1", digest=None, pull=pull)
    for other in ("bad.example:5000", "notbad.example", "bad.example.org", "bad.example:1443", "worse.example"):
        assert conf.endpoints(other, "a/b", tag="v1", digest=None, pull=pull)


# Names that become paths


@pytest.mark.parametrize("tag", ["../../outside", "/outside", "a/../../outside", "..", "./x", "a//b"])
@pytest.mark.parametrize(
    "destination", ["oci:{}/mirror/{{tag}}", "oci-archive:{}/mirror/x{{tag}}", "oci:{}/m-{{tag}}:v1"]
)
def test_a_tag_of_a_layout_does_not_lead_out_of_where_its_copy_goes(tmp_path: Path, tag: str, destination: str) -> None:
    """Names in an index.json are anybody's words; in `destination = "oci:mirror/{tag}"` they become a path."""
    maker = LayoutMaker(tmp_path / "from")
    maker.tag(tag, maker.image([]))
    maker.finish()
    (tmp_path / "in").mkdir()
    before = sorted(tmp_path.rglob("*"))
    text = f'[[sync]]\nsource = "oci:{tmp_path}/from"\ndestination = "{destination.format(tmp_path)}"\n'
    (outcome,) = copy_many(read_list(text.encode(), "x.toml", toml=True), OpenPlaces())
    assert outcome.status == "failed"
    assert isinstance(outcome.error, ConfigurationError)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("destination", "tag"),
    [
        ("docker://{tag}", "evil.example/app:v1"),
        ("docker://{tag}/app:v1", "evil.example"),
        ("docker://{tag}.evil.example/app:v1", "v1"),
        ("docker://mirror{tag}.example/app:v1", "v1"),
    ],
)
def test_a_tag_does_not_choose_the_registry(tmp_path: Path, destination: str, tag: str) -> None:
    """Who names tags would have an image, or a login, go where he likes."""
    maker = LayoutMaker(tmp_path / "from")
    maker.tag(tag, maker.image([]))
    maker.finish()
    text = f'[[sync]]\nsource = "oci:{tmp_path}/from"\ndestination = "{destination}"\n'
    with pytest.raises(ConfigurationError, match="registry"):
        _copied(text)
    for good in (
        "docker://mirror.example/app-{tag}:v1",
        "docker://mirror.example/{tag}",
        "docker://mirror.example/a:{tag}",
    ):
        text = f'[[sync]]\nsource = "docker://h.example/app"\ndestination = "{good}"\n'
        (sync,) = read_list(text.encode(), "x.toml", toml=True)
        assert isinstance(sync, Sync)
        assert "mirror.example" in str(sync.target("v1"))


def _copied(text: str) -> None:
    """Copy what a list says, raising what went wrong."""
    for outcome in copy_many(read_list(text.encode(), "x.toml", toml=True), OpenPlaces()):
        if outcome.error is not None:
            raise outcome.error


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "1e" + "9" * 5000, "0x" + "f" * 5000, "1_0" * 3000])
def test_a_number_of_thousands_of_digits_in_a_list(number: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_list(f"[[sync]]\nsource = {number}\n".encode(), "x.toml", toml=True)
    one_clear_line(caught.value)


# Referrers


def _about(shelf: Shelf, subject: Json | None, words: bytes) -> Json:
    shelf.blobs.update({descriptor(data, "x/y")["digest"]: data for data in (words, b"{}")})
    more = {} if subject is None else {"subject": {key: subject[key] for key in ("mediaType", "digest", "size")}}
    raw = encode(manifest(descriptor(b"{}", OCI_EMPTY), [descriptor(words, "x/y")], artifactType="a/b", **more))
    described = descriptor(raw, OCI_MANIFEST)
    shelf.manifests[described["digest"]] = (OCI_MANIFEST, raw)
    return described


def test_a_list_of_referrers_with_what_refers_to_something_else(server: ScriptedServer, tmp_path: Path) -> None:
    """A signature of another image, or a whole image: pushed to our registry, it would count there."""
    maker = LayoutMaker(tmp_path / "from")
    image = maker.image([])
    maker.tag("v1", image)
    shelf = Shelf.of(maker.finish())
    other = {"mediaType": OCI_MANIFEST, "digest": "sha256:" + "7" * 64, "size": 9}
    true, false, none = (_about(shelf, of, b"%d" % n) for n, of in enumerate((image, other, None)))
    entries = [true | {"artifactType": "not/true"}, false | {"artifactType": "a/b"}, none]
    body = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    empty = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})
    server.on("GET", f"/v2/app/referrers/{image['digest']}", headers={"Content-Type": OCI_INDEX}, body=body)
    server.on("GET", "/v2/app/referrers/.*", headers={"Content-Type": OCI_INDEX}, body=empty)
    shelf.serve(server)
    told: list[str] = []
    with (
        open_source(name(server), others=opener(settings()).source) as source,
        open_destination(f"oci:{tmp_path}/back:v1") as destination,
    ):
        copy(source, destination, with_referrers=True, warn=told.append)
    found = {str(entry.digest): entry for entry in Layout.open(tmp_path / "back").index().model.manifests}
    assert set(found) == {image["digest"], true["digest"]}
    assert found[true["digest"]].artifact_type in (None, "a/b"), "its own word, not the list's"
    assert len(told) == 2
    assert all("refer" in line for line in told)
    assert Digest.parse(false["digest"]) not in set(Layout.open(tmp_path / "back").blobs.digests())
