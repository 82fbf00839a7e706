"""JSON without the module `json`: the same values and texts, and whatever isn't plain is left to `json`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from oci.spec import quick_json
from oci.spec.quick_json import NotPlain

ROOT = Path(__file__).resolve().parent.parent.parent

VALUES: list[object] = [
    {},
    [],
    "",
    'ä \u2028 \U0001f600 " \\ / \n \x00',
    0,
    -(10**30),
    1.5,
    [1e300, 2.25],
    True,
    None,
    {"a": [1, {"b": None}], "": "x", "ä": [[], {}, "\x7f"]},
    [[[[[[[[1]]]]]]]],
    (1, 2),
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_a_value_is_written_and_read_as_json_does_it(value: object) -> None:
    text = json.dumps(value, separators=(",", ":"))
    assert quick_json.dumps(value) == text
    assert quick_json.loads(text) == json.loads(text)
    assert quick_json.loads(f" \n{text}\t ") == json.loads(text)
    if not isinstance(value, float):
        utf8 = quick_json.encoder()
        assert utf8(value) == json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize("text", ["", " ", "[", "[1,]", "[1] x", '{"a"}', "nul", "\ufeff1", "01", '"\n"', "[" * 20000])
def test_what_is_no_json_is_left_to_json_which_says_why(text: str) -> None:
    with pytest.raises(NotPlain):
        quick_json.scanner()(text)
    with pytest.raises((json.JSONDecodeError, RecursionError)):
        quick_json.loads(text)


def test_what_json_cant_say_is_left_to_it() -> None:
    for value in ({1, 2}, [float("nan")], float("inf"), {(1, 2): 3}, [b"x"]):
        with pytest.raises((TypeError, ValueError)):
            quick_json.dumps(value)
    itself: list[object] = []
    itself.append(itself)
    with pytest.raises(ValueError, match="Circular"):
        quick_json.dumps(itself)
    assert quick_json.dumps([1]) == "[1]"  # and nothing of that is remembered


def test_hooks_are_asked_and_their_errors_come_through() -> None:
    class RefusedError(ValueError):
        pass

    def refuse(text: str) -> object:
        raise RefusedError(text)

    read = quick_json.scanner(list, str, repr, refuse)
    assert read('{"a": 12, "b": [1.5]}') == [("a", "12"), ("b", ["'1.5'"])]
    with pytest.raises(RefusedError, match="NaN"):
        read("[NaN]")


def test_without_the_functions_in_c_json_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_json", None)
    with pytest.raises(NotPlain):
        quick_json.scanner()("[1]")
    with pytest.raises(NotPlain):
        quick_json.encoder()([1])
    monkeypatch.setattr(quick_json, "_read", None)
    monkeypatch.setattr(quick_json, "_write", None)
    assert quick_json.loads("[1]") == [1]
    assert quick_json.dumps([1]) == "[1]"


def test_reading_and_writing_import_no_json() -> None:
    script = (
        "import sys; from oci.spec.wire import dumps, loads; assert dumps(loads(b'[1, 2.5]')) == b'[1,2.5]'; "
        "print(*{'json', 're', 'enum', 'typing'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_damaged_texts_are_json_s_to_refuse_where_nothing_has_imported_it_yet() -> None:
    """The function in C looks for the class of its error in a module that isn't there, and says nothing at all."""
    for text in ("{", '{"a":1', '{"a" 1}', '["\\x"]', '"', "[1,]", '{"a":1,}', "nul", "[" * 100_000):
        script = (
            "import sys; from oci.spec.quick_json import loads\n"
            f"assert not 'json' in sys.modules\ntry: loads({text!r})\n"
            "except (ValueError, RecursionError): print('refused')"
        )
        command = [sys.executable, "-S", "-c", script]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("refused\n", ""), text[:20]
