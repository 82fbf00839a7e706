"""Challenges are read by RFC 9110 section 11.6.1, whatever a server makes of it."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oci.auth.challenge import MAX_CHALLENGES, MAX_LENGTH, MAX_PARAMETERS, Challenge, parse_challenges
from oci.auth.scope import CATALOG, MAX_SCOPES, Scope, merge, parse_scopes


def read(*values: str) -> list[tuple[str, dict[str, str]]]:
    return [(one.scheme, dict(one.params)) for one in parse_challenges(values)]


NEXUS = "Sonatype Nexus Repository Manager"
HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:samalba/my-app:pull,push"'


def test_the_example_of_the_token_specification() -> None:
    """docs/spec/auth/token.md of distribution."""
    assert read(HUB) == [
        (
            "bearer",
            {
                "realm": "https://auth.docker.io/token",
                "service": "registry.docker.io",
                "scope": "repository:samalba/my-app:pull,push",
            },
        )
    ]


def test_the_examples_of_the_rfc() -> None:
    """RFC 9110 section 11.6.1: two challenges in one header, one with an escaped quote; and a list within a list."""
    text = 'Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""'
    assert read(text) == [
        ("basic", {"realm": "simple"}),
        ("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
    ]
    assert read("Basic , Bearer") == [("basic", {}), ("bearer", {})]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (['Basic realm="a"', 'Bearer realm="b"'], [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        ([f'BASIC realm="{NEXUS}"'], [("basic", {"realm": NEXUS})]),
        (['bEaReR  Realm \t= "x" , SERVICE=reg'], [("bearer", {"realm": "x", "service": "reg"})]),
        ([', ,Basic realm="x",, ,'], [("basic", {"realm": "x"})]),
        (['Negotiate, NTLM, Basic realm="x"'], [("negotiate", {}), ("ntlm", {}), ("basic", {"realm": "x"})]),
        (['NTLM TlRMTVNTUAAB==, Basic realm="x"'], [("ntlm", {}), ("basic", {"realm": "x"})]),
        (['Bearer realm="a,b=c, Basic realm=x"'], [("bearer", {"realm": "a,b=c, Basic realm=x"})]),
        (["Bearer realm=https://x.example/t?a=b,a=s"], [("bearer", {"realm": "https://x.example/t?a=b", "a": "s"})]),
        (['Bearer realm="a",realm="b"'], [("bearer", {"realm": "a"})]),
        (['Bearer realm="",service=""'], [("bearer", {"realm": "", "service": ""})]),
        (['Bearer realm="x",scope="a:b:c",scope="d:e:f"'], [("bearer", {"realm": "x", "scope": "a:b:c d:e:f"})]),
        (['Bearer realm="\\\\\\a"'], [("bearer", {"realm": "\\a"})]),
        (['Bearer realm="b\u00fccher"'], [("bearer", {"realm": "b\u00fccher"})]),
    ],
)  # fmt: skip
def test_what_servers_write(values: list[str], found: list[tuple[str, dict[str, str]]]) -> None:
    assert read(*values) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ",",
        "=",
        '"',
        "\x00",
        '"Basic"',
        "a=b",
        'Bearer realm="x',
        'Bearer realm="x\\',
        'Basic realm="a" Bearer',
    ],
)
def test_what_is_no_challenge_is_none(text: str) -> None:
    assert read(text) == []


def test_whole_challenges_before_a_fault_and_other_headers_count() -> None:
    assert read('Basic realm="x", Bearer realm="y', "Negotiate") == [("basic", {"realm": "x"}), ("negotiate", {})]


def test_a_token68_is_kept_apart() -> None:
    (one,) = parse_challenges(["NTLM TlRMTVNTUAAB=="])
    assert (one.token68, dict(one.params)) == ("TlRMTVNTUAAB==", {})


def test_numbers_are_bounded() -> None:
    assert len(parse_challenges([", ".join(f"s{n}" for n in range(100))])) == MAX_CHALLENGES
    (one,) = parse_challenges(["Bearer " + ",".join(f'p{n}="x"' for n in range(MAX_PARAMETERS))])
    assert len(one.params) == MAX_PARAMETERS
    assert all(len(one.params) <= MAX_PARAMETERS for one in parse_challenges(["B " + "a=b," * 8000]))
    assert parse_challenges(['Basic realm="' + "x" * MAX_LENGTH + '"']) == ()
    assert read('Basic realm="x"', "y" * MAX_LENGTH) == [("basic", {"realm": "x"})]


@pytest.mark.parametrize(
    "piece", ["a ", '"', 'a="', "a=", "a=b,", ",", "\\", "a,", " \t", "= ", 'a="\\"', "A a=b, ", "~", "a==,", '""']
)
@pytest.mark.parametrize("head", ["", "B ", 'B a="', "B a=b,"])
def test_time_is_linear_whatever_comes(head: str, piece: str) -> None:
    text = head + piece * ((MAX_LENGTH - len(head)) // len(piece))
    start = time.perf_counter()
    parse_challenges([text])
    assert time.perf_counter() - start < 0.5


TOKEN = st.text("abcXYZ019!#$%&'*+.^_`|~-", min_size=1, max_size=8)
PARAMS = st.dictionaries(TOKEN.map(str.lower).filter(lambda name: name != "scope"), st.text(max_size=12), max_size=4)
BLANK = st.sampled_from(["", " ", "  ", "\t"])


@given(
    st.lists(st.tuples(TOKEN, PARAMS), max_size=4),
    st.data(),
)
def test_a_list_of_challenges_reads_back_as_it_was_written(
    challenges: list[tuple[str, dict[str, str]]], data: st.DataObject
) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def blank() -> str:
        return data.draw(BLANK)

    written = []
    for scheme, params in challenges:
        words = [f"{name}{blank()}={blank()}{quoted(value)}" for name, value in params.items()]
        written.append(f"{scheme} {f'{blank()},{blank()}'.join(words)}")
    text = f"{blank()},{blank()}".join(written)
    expected = [(scheme.lower(), params) for scheme, params in challenges]
    assert read(text) == expected
    assert read(*written) == expected


@given(st.lists(st.text(max_size=200) | st.text('aB =,"\\\t', max_size=60), max_size=4))
@example(['Bearer realm="'])
def test_nothing_makes_it_fail(values: list[str]) -> None:
    for one in parse_challenges(values):
        assert isinstance(one, Challenge)
        assert one.scheme == one.scheme.lower() != ""


# Scopes


def test_scopes_are_read_by_their_grammar() -> None:
    """docs/spec/auth/scope.md: the name may hold a ':' of a port; ECR Public's `aws` is none of these."""
    found = parse_scopes(
        "repository:samalba/my-app:pull,push aws registry:catalog:* repository(plugin):host:5000/a/b:pull"
    )
    assert [str(scope) for scope in found] == [
        "repository:samalba/my-app:pull,push",
        "registry:catalog:*",
        "repository(plugin):host:5000/a/b:pull",
    ]
    assert found[1] == CATALOG
    assert parse_scopes("") == ()
    assert parse_scopes('repository:a"&x=y:pull') == ()
    assert len(parse_scopes("repository:a:pull " * 1000)) == MAX_SCOPES


def test_scopes_are_merged_in_the_order_of_their_resources() -> None:
    push, pull, other = Scope("b", ("push",)), Scope("b", ("pull",)), Scope("a", ("pull",))
    assert merge((push, other), (pull,)) == (Scope("b", ("pull", "push")), other)
    assert merge() == ()
