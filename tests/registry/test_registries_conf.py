"""registries.conf, version 2: which table counts, where it leads, how files are merged, what is refused.

The behaviour is that of containers-registries.conf(5) and containers-registries.conf.d(5); cases that the page gives as
examples are here with its own names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from oci.errors import ConfigurationError
from oci.registry.endpoint import Endpoint
from oci.registry.registries_conf import MAX_CONF, RegistriesConf
from oci.spec.digest import Digest

DIGEST = Digest.of(b"an image")
Conf = Callable[..., RegistriesConf]


@pytest.fixture
def conf(tmp_path: Path) -> Conf:
    """Read these texts as files, in this order."""

    def read(*texts: str) -> RegistriesConf:
        names = []
        for number, text in enumerate(texts):
            path = tmp_path / f"{number}.conf"
            path.write_text(text)
            names.append(str(path))
        return RegistriesConf.read(names)

    return read


def pulled(found: RegistriesConf, name: str, *, tag: str | None = "latest", digest: Digest | None = None) -> list[str]:
    """Where a name is pulled from, mirrors in brackets, insecure places with an exclamation mark."""
    registry, _, repository = name.partition("/")
    endpoints = found.endpoints(registry, repository, tag=tag, digest=digest, pull=True)
    return [shown(endpoint) for endpoint in endpoints]


def shown(endpoint: Endpoint) -> str:
    text = f"{endpoint.location}/{endpoint.repository}{'!' if endpoint.insecure else ''}"
    return f"({text})" if endpoint.is_mirror else text


# The page's own example

EXAMPLE = """
unqualified-search-registries = ["example.com"]

[[registry]]
prefix = "example.com/foo"
insecure = false
blocked = false
location = "internal-registry-for-example.com/bar"

[[registry.mirror]]
location = "example-mirror-0.local/mirror-for-foo"

[[registry.mirror]]
location = "example-mirror-1.local/mirrors/foo"
insecure = true

[[registry]]
location = "registry.com"

[[registry.mirror]]
location = "mirror.registry.com"
"""


def test_mirrors_come_first_and_then_the_location(conf: Conf) -> None:
    found = conf(EXAMPLE)
    assert pulled(found, "example.com/foo/image") == [
        "(example-mirror-0.local/mirror-for-foo/image)",
        "(example-mirror-1.local/mirrors/foo/image!)",
        "internal-registry-for-example.com/bar/image",
    ]
    assert pulled(found, "registry.com/image") == ["(mirror.registry.com/image)", "registry.com/image"]
    assert pulled(found, "example.com/other") == ["example.com/other"]
    assert found.search == ("example.com",)
    assert found.notes == ()


def test_a_push_goes_where_the_name_says(conf: Conf) -> None:
    found = conf(EXAMPLE)
    assert found.endpoints("example.com", "foo/image", pull=False) == (
        Endpoint(location="example.com", repository="foo/image"),
    )


def test_nothing_said_changes_nothing() -> None:
    assert pulled(RegistriesConf(), "docker.io/library/alpine") == ["docker.io/library/alpine"]
    assert RegistriesConf.read([]) == RegistriesConf()


# Prefixes


@pytest.mark.parametrize(
    ("name", "leads"),
    [
        ("example.com/foo", "there.example/x"),
        ("example.com/foo/a/b", "there.example/x/a/b"),
        ("EXAMPLE.com/foo/a", "there.example/x/a"),
        ("example.com/foobar", "example.com/foobar"),
        ("example.com:5000/foo", "example.com:5000/foo"),
        ("example.com.evil/foo", "example.com.evil/foo"),
        ("sub.example.com/foo", "sub.example.com/foo"),
    ],
)
def test_a_prefix_is_of_whole_parts(conf: Conf, name: str, leads: str) -> None:
    assert pulled(conf('[[registry]]\nprefix="example.com/foo"\nlocation="there.example/x"'), name) == [leads]


def test_the_longest_prefix_counts_alone(conf: Conf) -> None:
    found = conf(
        """
        [[registry]]
        location = "example.com"
        insecure = true
        [[registry.mirror]]
        location = "whole.example"
        [[registry]]
        prefix = "example.com/a/b"
        location = "deep.example/b"
        [[registry]]
        prefix = "example.com/a"
        location = "a.example"
        """
    )
    assert pulled(found, "example.com/a/b/c") == ["deep.example/b/c"]
    assert pulled(found, "example.com/a/c") == ["a.example/c"]
    assert pulled(found, "example.com/c") == ["(whole.example/c)", "example.com/c!"]


def test_a_wildcard_is_for_every_subdomain_and_moves_nothing(conf: Conf) -> None:
    found = conf('[[registry]]\nprefix="*.example.com"\ninsecure=true\n[[registry.mirror]]\nlocation="m.local/all"')
    assert pulled(found, "bar.example.com/x") == ["(m.local/all/x)", "bar.example.com/x!"]
    assert pulled(found, "foo.bar.example.com:5000/x") == ["(m.local/all/x)", "foo.bar.example.com:5000/x!"]
    assert pulled(found, "example.com/x") == ["example.com/x"]
    assert pulled(found, "badexample.com/x") == ["badexample.com/x"]
    assert pulled(found, "bar.example.com.evil/x") == ["bar.example.com.evil/x"]


def test_a_wildcard_with_a_location_gathers_all_of_them(conf: Conf) -> None:
    found = conf('[[registry]]\nprefix="*.example.com"\nlocation="one.example/all"')
    assert pulled(found, "a.example.com/x/y") == ["one.example/all/x/y"]


def test_a_host_by_its_whole_name_counts_before_a_wildcard_as_long(conf: Conf) -> None:
    found = conf(
        '[[registry]]\nprefix="*.example.com"\nblocked=true\n[[registry]]\nprefix="a.example.com"\nlocation="ok.example"'
    )
    assert pulled(found, "a.example.com/x") == ["ok.example/x"]


def test_a_prefix_may_be_one_tag_or_digest(conf: Conf) -> None:
    found = conf(
        f"""
        [[registry]]
        location = "example.com/app:old"
        blocked = true
        [[registry]]
        prefix = "example.com/app@{DIGEST}"
        location = "kept.example/app"
        """
    )
    with pytest.raises(ConfigurationError, match="is blocked"):
        pulled(found, "example.com/app", tag="old")
    assert pulled(found, "example.com/app", tag="new") == ["example.com/app"]
    assert pulled(found, "example.com/app", digest=DIGEST) == ["kept.example/app"]


def test_what_moves_to_docker_hub_gets_its_library(conf: Conf) -> None:
    found = conf('[[registry]]\nprefix="hub.local"\nlocation="docker.io"')
    assert pulled(found, "hub.local/alpine") == ["docker.io/library/alpine"]
    assert pulled(found, "hub.local/a/b") == ["docker.io/a/b"]


def test_docker_hub_is_mirrored_by_its_whole_names(conf: Conf) -> None:
    found = conf('[[registry]]\nlocation="index.docker.io"\n[[registry.mirror]]\nlocation="m.local:5000/hub"')
    assert pulled(found, "docker.io/library/alpine") == [
        "(m.local:5000/hub/library/alpine)",
        "docker.io/library/alpine",
    ]


def test_a_location_that_leaves_no_repository_over_is_an_error_when_it_is_used(conf: Conf) -> None:
    found = conf('[[registry]]\nprefix="example.com/foo"\nlocation="there.example"')
    assert pulled(found, "example.com/foo/x") == ["there.example/x"]
    with pytest.raises(ConfigurationError, match=r"0\.conf: registry\[0\]: .* leaves no repository over"):
        pulled(found, "example.com/foo")


# Mirrors by kind, blocked


@pytest.mark.parametrize(
    ("kind", "by_tag", "by_digest"),
    [("all", True, True), ("", True, True), ("digest-only", False, True), ("tag-only", True, False)],
)
def test_a_mirror_may_be_for_tags_or_digests_only(conf: Conf, kind: str, by_tag: bool, by_digest: bool) -> None:
    found = conf(f'[[registry]]\nlocation="a.b"\n[[registry.mirror]]\nlocation="m.b"\npull-from-mirror="{kind}"')
    mirror, own = "(m.b/x)", "a.b/x"
    assert pulled(found, "a.b/x") == ([mirror, own] if by_tag else [own])
    assert pulled(found, "a.b/x", digest=DIGEST) == ([mirror, own] if by_digest else [own])
    assert pulled(found, "a.b/x", tag=None, digest=DIGEST) == ([mirror, own] if by_digest else [own])


def test_a_registry_may_have_all_its_mirrors_for_digests(conf: Conf) -> None:
    found = conf('[[registry]]\nlocation="a.b"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation="m.b"')
    assert pulled(found, "a.b/x") == ["a.b/x"]
    assert pulled(found, "a.b/x", digest=DIGEST) == ["(m.b/x)", "a.b/x"]


@pytest.mark.parametrize("pull", [True, False])
def test_what_is_blocked_is_refused_with_the_file_and_the_table(conf: Conf, pull: bool) -> None:
    found = conf('[[registry]]\nlocation="ok.com"\n[[registry]]\nlocation="bad.com"\nblocked=true')
    with pytest.raises(
        ConfigurationError, match=r"0\.conf: registry\[1\]: BAD\.com/x is blocked there \(prefix bad\.com\)"
    ):
        found.endpoints("BAD.com", "x", pull=pull)


# Several files


def test_later_files_replace_lists_and_tables_with_the_same_prefix(conf: Conf) -> None:
    found = conf(
        """
        unqualified-search-registries = ["one.com", "two.com"]
        short-name-mode = "enforcing"
        [[registry]]
        location = "a.com"
        insecure = true
        [[registry]]
        location = "b.com"
        [aliases]
        "one" = "one.com/one"
        "two" = "two.com/two"
        """,
        """
        unqualified-search-registries = []
        [[registry]]
        prefix = "a.com"
        location = "moved.com/a"
        [aliases]
        "one" = ""
        "two" = "other.com/a/two"
        "a/three" = "three.com/three"
        """,
    )
    assert pulled(found, "a.com/x") == ["moved.com/a/x"]
    assert pulled(found, "b.com/x") == ["b.com/x"]
    assert found.search == ()
    assert found.short_name_mode == "enforcing"
    assert found.short_name("one") is None
    assert found.short_name("two") == "other.com/a/two"
    assert found.short_name("a/three") == "three.com/three"
    assert found.short_name("four") is None


def test_credential_helpers_are_read(conf: Conf) -> None:
    assert conf('credential-helpers = ["containers-auth.json", "pass"]').credential_helpers == (
        "containers-auth.json",
        "pass",
    )


def test_the_same_prefix_twice_in_a_file_is_noted_and_the_first_counts(conf: Conf) -> None:
    found = conf('[[registry]]\nlocation="a.b"\n[[registry]]\nprefix="a.b"\nlocation="c.d"')
    assert pulled(found, "a.b/x") == ["a.b/x"]
    assert len(found.notes) == 1
    assert "registry[1]: the prefix a.b stood before" in found.notes[0]


def test_a_key_that_is_not_known_is_noted_and_not_taken_for_another(conf: Conf) -> None:
    found = conf(
        'later = 1\n[[registry]]\nlocation="a.b"\nblock = true\n[[registry.mirror]]\nlocation="m.b"\nsecure=true'
    )
    assert [note.partition(".conf: ")[2].partition(":")[0] for note in found.notes] == [
        "later",
        "registry[0].block",
        "registry[0].mirror[0].secure",
    ]
    assert pulled(found, "a.b/x") == ["(m.b/x)", "a.b/x"]


# What is refused


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("[registries.search]\nregistries = []", "registries", "version 1 of registries.conf"),
        ("registries = 1", "registries", "version 1"),
        ('[[registry]]\nprefix="a.b/c"', "registry[0].location", "it is missing"),
        ("[[registry]]\ninsecure=true", "registry[0]", "neither a prefix nor a location"),
        ('[[registry]]\nlocation="https://a.b"', "registry[0].location", "is a URL; write HOST"),
        ('[[registry]]\nlocation="a.b/UPPER"', "registry[0].location", "is not HOST[:PORT][/PATH]"),
        ('[[registry]]\nlocation="a_b"', "registry[0].location", "is not HOST[:PORT][/PATH]"),
        ('[[registry]]\nlocation="a.b:x"', "registry[0].location", "is not HOST[:PORT][/PATH]"),
        ('[[registry]]\nlocation="*.a.b"', "registry[0].location", "is not HOST[:PORT][/PATH]"),
        ('[[registry]]\nlocation="a.b/c:.x"', "registry[0].location", "neither a tag nor a digest"),
        ('[[registry]]\nprefix="*.a.b/c"', "registry[0].prefix", "a domain alone"),
        ('[[registry]]\nprefix="*.a.b:5000"', "registry[0].prefix", "a domain alone"),
        ('[[registry]]\nprefix="a.*.b"\nlocation="c.d"', "registry[0].prefix", "is not HOST[:PORT][/PATH]"),
        ('[[registry]]\nprefix="a.b/c:1"\nlocation="c.d/c:2"', "registry[0].location", "another tag or digest"),
        ('[[registry]]\nlocation="a.b"\ninsecure="yes"', "registry[0].insecure", "neither true nor false"),
        ('[[registry]]\nlocation="a.b"\nblocked=1', "registry[0].blocked", "neither true nor false"),
        ("[[registry]]\nlocation=5", "registry[0].location", "not a string"),
        ('registry="a.b"', "registry", "not an array of tables; each begins with [[registry]]"),
        ('[registry]\nlocation="a.b"', "registry", "not an array of tables"),
        ('[[registry]]\nlocation="a.b"\nmirror=["c"]', "registry[0].mirror", "begins with [[registry.mirror]]"),
        ('[[registry]]\nlocation="a.b"\n[[registry.mirror]]', "registry[0].mirror[0].location", "it is missing"),
        (
            '[[registry]]\nlocation="a.b"\n[[registry.mirror]]\nlocation="c.d"\npull-from-mirror="some"',
            "registry[0].mirror[0].pull-from-mirror",
            "is not one of all, digest-only, tag-only",
        ),
        (
            '[[registry]]\nlocation="a.b"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation="c.d"\n'
            'pull-from-mirror="all"',
            "registry[0].mirror[0].pull-from-mirror",
            "contradicts mirror-by-digest-only",
        ),
        ('[[registry]]\nlocation="a.b"\npull-from-mirror="all"', "registry[0].pull-from-mirror", "[[registry.mirror]]"),
        ('unqualified-search-registries=["a.b/c"]', "unqualified-search-registries", "'a.b/c' is not HOST[:PORT]"),
        ('unqualified-search-registries="a.b"', "unqualified-search-registries", "not an array of strings"),
        ('short-name-mode="on"', "short-name-mode", "is not one of enforcing, permissive, disabled"),
        ('[aliases]\n"a:1"="b.c/d"', "aliases.a:1", "neither a host nor a tag"),
        ('[aliases]\n"a.b/c"="b.c/d"', "aliases.a.b/c", "neither a host nor a tag"),
        ('[aliases]\n"a"="b.c/d:1"', "aliases.a", "is not HOST[:PORT]/REPOSITORY"),
        ('[aliases]\n"a"="d"', "aliases.a", "is not HOST[:PORT]/REPOSITORY"),
        ("aliases=1", "aliases", "not a table"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_key(conf: Conf, text: str, where: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        conf(text)
    assert caught.value.where.endswith(f"0.conf: {where}")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_toml_is_refused_with_its_line(conf: Conf, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"0\.conf: not TOML: .*line 2"):
        conf("a = 1\nb = \n")
    with pytest.raises(ConfigurationError, match="nested too deeply"):
        conf("a = " + "[" * 100_000)
    with pytest.raises(ConfigurationError, match="not TOML"):
        conf("a = " + "9" * 100_000)
    (tmp_path / "bytes.conf").write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigurationError, match=r"bytes\.conf: line 2 is not UTF-8"):
        RegistriesConf.read([str(tmp_path / "bytes.conf")])


def test_a_file_that_can_not_be_read_or_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.conf: can't be read: no such file"):
        RegistriesConf.read([str(tmp_path / "nowhere.conf")])
    with pytest.raises(ConfigurationError, match="can't be read: is a directory"):
        RegistriesConf.read([str(tmp_path)])
    (tmp_path / "long.conf").write_text("#" * (MAX_CONF + 1))
    with pytest.raises(ConfigurationError, match=f"longer than {MAX_CONF} bytes"):
        RegistriesConf.read([str(tmp_path / "long.conf")])


def test_debians_own_files_are_read() -> None:
    folder = Path("/etc/containers")
    files = [
        path for path in (folder / "registries.conf", folder / "registries.conf.d/shortnames.conf") if path.exists()
    ]
    if not files:
        pytest.skip("needs Debian's golang-github-containers-common")
    found = RegistriesConf.read([str(path) for path in files])
    assert found.notes == ()
    if len(files) == 2:
        assert found.short_name("alpine") == "docker.io/library/alpine"
