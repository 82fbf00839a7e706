"""Who may import whom: one direction, no circles, and one door for each third-party library.

The levels are those of docs/adr/0001-levels.md. Every import statement counts, those inside functions too; an import
under `if TYPE_CHECKING` counts as well, a type is a dependency of the idea if not of the run.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LEVELS = {
    "errors": 0,
    "lazily": 0,
    "typed": 0,
    "spec": 1,
    "streams": 2,
    "linux": 2,
    "tar": 3,
    "http": 3,
    "auth": 4,
    "layout": 4,
    "changeset": 4,
    "image": 5,
    "drivers": 5,
    "unpack": 6,
    "inspect": 6,
    "verification": 6,
    "registry": 6,
    "serving": 6,
    "runtime": 6,
    "storage": 6,
    "transports": 7,
    "container": 7,
    "artifact": 8,
    "cli": 9,
}

# library → the modules that may import it; two of the standard library have a door too
DOORS = {
    "zstandard": ("oci.streams.compression*",),
    "isal": ("oci.streams.compression*",),
    "jsonschema": ("oci.layout.schema",),
    "referencing": ("oci.layout.schema",),
    "urllib3": ("oci.http.exchange",),
    "cheroot": ("oci.serving.gateway", "oci.serving.sockets"),
    "bcrypt": ("oci.serving.passwords",),
    "ctypes": ("oci.linux.*",),
    "sqlite3": ("oci.storage.state",),
    "typer": ("oci.cli", "oci.cli.*"),
    "rich": ("oci.cli", "oci.cli.*"),
}

MODULES = sorted((ROOT / "oci").rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every module a file imports, as (line, absolute name)."""
    name = name_of(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                # `from oci import spec` imports the room, or a name of the public face; `from oci.spec import wire` a
                # module, or a name that the room's __init__ gives on.
                inner = f"{base}.{alias.name}"
                yield node.lineno, inner if base == "oci" or is_module(inner) else base


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return name.startswith("oci.") and (path.with_suffix(".py").is_file() or (path / "__init__.py").is_file())


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def is_public_face(path: Path) -> bool:
    return path.relative_to(ROOT).as_posix() in ("oci/__init__.py", "oci/__main__.py")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_lower_levels_and_its_own_folder(path: Path) -> None:
    if is_public_face(path):
        return  # the public face names all rooms; it holds no logic
    own = room(name_of(path))
    assert own in LEVELS, f"oci/{own} has no level in tests/test_layering.py"
    wrong = []
    for line, target in imports(path):
        if target.split(".")[0] != "oci":
            continue
        other = room(target)
        if other == own:
            continue
        if other not in LEVELS:
            if own != "cli":  # the command line may ask the public face, e.g. for __version__
                wrong.append(f"line {line}: {target} is not a room (import the room that has it)")
        elif LEVELS[other] >= LEVELS[own]:
            wrong.append(f"line {line}: {target} (level {LEVELS[other]}) from level {LEVELS[own]}")
    assert not wrong, f"{path.relative_to(ROOT)}: {'; '.join(wrong)}"


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first of them again at the end; nothing where there is none."""
    done: set[str] = set()

    def follow(way: list[str]) -> list[str]:
        for target in sorted(graph.get(way[-1], set()) - done):
            if target in way:
                return [*way[way.index(target) :], target]
            if found := follow([*way, target]):
                return found
        done.add(way[-1])
        return []

    return next((found for module in sorted(graph) if (found := follow([module]))), [])


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name_of(path): {target for _, target in imports(path)} for path in MODULES if not is_public_face(path)}
    assert circle_in(graph) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_third_party_library_is_imported_at_its_door_only(path: Path) -> None:
    wrong = []
    for line, target in imports(path):
        top = target.split(".")[0]
        if top in ("oci", "_typeshed") or (top in sys.stdlib_module_names and top not in DOORS):
            continue
        if not any(fnmatch(name_of(path), door) for door in DOORS.get(top, ())):
            wrong.append(f"line {line}: {target}, which belongs to {', '.join(DOORS.get(top, ())) or 'no module'}")
    assert not wrong, f"{path.relative_to(ROOT)}: {'; '.join(wrong)}"


# Below the command line nothing reads the environment or the clock, prints or exits: they are parameters.
_FORBIDDEN_CALLS = {
    "print",
    "input",
    "exit",
    "sys.exit",
    "os.getenv",
    "os.environ.get",
    "time.time",
    "time.time_ns",
    "datetime.now",
    "datetime.utcnow",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_below_the_command_line_nothing_reads_the_environment_or_the_clock_or_prints(path: Path) -> None:
    if is_public_face(path) or room(name_of(path)) == "cli":
        return
    wrong = []
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in _FORBIDDEN_CALLS:
            wrong.append(f"line {node.lineno}: {ast.unparse(node.func)}()")
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "sys.argv"):
            wrong.append(f"line {node.lineno}: {ast.unparse(node)}")
    assert not wrong, f"{path.relative_to(ROOT)}: {'; '.join(wrong)}"


def test_every_level_named_here_exists_or_is_yet_to_come() -> None:
    rooms = {
        p.name.removesuffix(".py") for p in (ROOT / "oci").iterdir() if p.name not in ("__init__.py", "__main__.py")
    }
    assert {r for r in rooms if not r.startswith(("_", "py.typed"))} <= set(LEVELS)


def test_a_circle_is_seen_however_long_it_is() -> None:
    assert circle_in({"a": {"b"}, "b": {"c", "json"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c", "a"]
    assert circle_in({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []


def test_the_rules_see_what_they_forbid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "oci" / "spec" / "bad.py"
    source.parent.mkdir(parents=True)
    source.write_text("from ..layout import Layout\nimport typer\ndef f():\n    import oci.cli.app\nprint('x')\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert sorted(target for _, target in imports(source)) == ["oci.cli.app", "oci.layout", "typer"]
    for test in (
        test_a_module_imports_only_lower_levels_and_its_own_folder,
        test_a_third_party_library_is_imported_at_its_door_only,
        test_below_the_command_line_nothing_reads_the_environment_or_the_clock_or_prints,
    ):
        with pytest.raises(AssertionError, match=r"oci/spec/bad\.py"):
            test(source)


@pytest.mark.parametrize("line", ["import ctypes", "from ctypes import util", "import ctypes.util", "import sqlite3"])
def test_a_door_holds_for_the_standard_library_too(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "oci" / "unpack" / "bad.py"
    source.parent.mkdir(parents=True)
    source.write_text(f"import os\ndef f():\n    {line}\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    with pytest.raises(AssertionError, match=r"line 3: (ctypes|sqlite3)"):
        test_a_third_party_library_is_imported_at_its_door_only(source)
