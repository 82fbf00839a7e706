"""Who is asked for a reference: the registry it names, or mirrors before it; and who gets which credentials."""

from __future__ import annotations

import pytest

from oci.auth.credential import Credentials
from oci.registry.connect import connect, connect_push, connect_registry
from oci.registry.endpoint import Endpoint
from oci.registry.settings import Settings
from oci.spec.digest import Digest
from oci.spec.reference import RegistryRef, parse_name
from tests.support.pulling import hasty


class Conf:
    """Stands for a registries.conf: what it was asked, and what it says."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.endpoints_given, self.asked = endpoints, []  # type: ignore[var-annotated]

    def endpoints(
        self, registry: str, repository: str, *, tag: str | None, digest: Digest | None, pull: bool
    ) -> tuple[Endpoint, ...]:
        self.asked.append((registry, repository, tag, digest, pull))
        return self.endpoints_given if pull else self.endpoints_given[-1:]


def with_conf(*endpoints: Endpoint, **changes: object) -> tuple[Conf, Settings]:
    conf = Conf(*endpoints)
    return conf, hasty(registries=conf, **changes)


@pytest.fixture(autouse=True)
def nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def sent(*values: object, **named: object) -> None:
        raise AssertionError("a request was sent")

    monkeypatch.setattr("oci.http.exchange.Http.exchange", sent)


def test_without_a_registries_conf_it_is_the_registry_that_is_named() -> None:
    with connect(parse_name("reg.example:5000/a/b:v1"), hasty()) as found:
        assert [str(one) for one in found] == ["reg.example:5000/a/b"]


@pytest.mark.parametrize("name", ["alpine", "docker.io/alpine", "index.docker.io/library/alpine"])
def test_docker_hub_has_another_host_than_its_name(name: str) -> None:
    with connect(parse_name(name), hasty()) as found:
        assert [str(one) for one in found] == ["registry-1.docker.io/library/alpine"]
    with connect_push(parse_name(name), hasty()) as found:
        assert [str(one) for one in found] == ["registry-1.docker.io/library/alpine"]


def test_mirrors_come_first_and_get_no_push() -> None:
    mirror = Endpoint(location="mirror.example", repository="cache/a", is_mirror=True)
    primary = Endpoint(location="reg.example", repository="a")
    conf, settings = with_conf(mirror, primary)
    reference = RegistryRef("reg.example", "a", "v1")
    with connect(reference, settings) as found:
        assert [str(one) for one in found] == ["mirror.example/cache/a", "reg.example/a"]
    with connect_push(reference, settings) as found:
        assert [str(one) for one in found] == ["reg.example/a"]
    assert conf.asked == [("reg.example", "a", "v1", None, True), ("reg.example", "a", "v1", None, False)]


def test_all_of_them_share_their_connections() -> None:
    places = [Endpoint(location="mirror.example", repository=name, is_mirror=True) for name in "ab"]
    _, settings = with_conf(*places, Endpoint(location="reg.example", repository="c"))
    with connect(RegistryRef("reg.example", "c", "v1"), settings) as found:
        assert found[0].client is found[1].client
        assert found[0].client is not found[2].client
        assert len({id(one.client._http) for one in found}) == 1


class Asked:
    """A source of credentials that notes for whom it was asked."""

    def __init__(self) -> None:
        self.hosts: list[str] = []

    def find(self, host: str, repository: str | None) -> Credentials | None:
        self.hosts.append(host)
        return None


def test_a_whole_registry_can_be_asked_too() -> None:
    with connect_registry("docker.io", hasty()) as client:
        assert client.host == "registry-1.docker.io"
    _, settings = with_conf(Endpoint(location="real.example", repository="x", insecure=True))
    with connect_registry("reg.example", settings) as client:
        assert client.host == "real.example"
