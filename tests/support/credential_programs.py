"""Credential helpers as real programs, in a folder that is their whole PATH."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from oci.auth.credential_files import Place
from oci.auth.credential_helpers import Helpers
from oci.auth.credentials import CredentialFiles

# A helper as docker's are: keeps a JSON file beside itself, and notes how it was called.
KEEPER = f"""#!{sys.executable} -SE
import json, os, sys
here = os.path.dirname(os.path.abspath(__file__))
given = sys.stdin.read()
with open(here + "/calls", "a") as calls:
    calls.write(json.dumps([sys.argv[1:], given]) + "\\n")
path = here + "/kept.json"
kept = json.load(open(path)) if os.path.exists(path) else {{}}
action = sys.argv[1]
if action == "store":
    entry = json.loads(given)
    kept[entry["ServerURL"]] = entry
elif given not in kept:
    print("credentials not found in native keychain")
    sys.exit(1)
elif action == "get":
    print(json.dumps(kept[given]))
elif action == "erase":
    del kept[given]
json.dump(kept, open(path, "w"))
"""


class Programs:
    """A folder of helpers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.helpers = Helpers(environ={"PATH": str(folder), "HOME": "/nowhere"}, seconds=10.0)

    def add(self, name: str, text: str) -> None:
        path = self.folder / f"docker-credential-{name}"
        path.write_text(text)
        path.chmod(0o755)

    def keep(self, **entries: tuple[str, str]) -> None:
        kept = {key: {"ServerURL": key, "Username": user, "Secret": secret} for key, (user, secret) in entries.items()}
        (self.folder / "kept.json").write_text(json.dumps(kept))

    @property
    def kept(self) -> Any:
        return json.loads((self.folder / "kept.json").read_text())

    @property
    def calls(self) -> list[tuple[list[str], str]]:
        path = self.folder / "calls"
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def files(self, tmp_path: Path, value: Any, name: str = "config.json", **more: Any) -> CredentialFiles:
        path = tmp_path / name
        path.write_text(json.dumps(value))
        return CredentialFiles([Place(str(path), named=True)], self.helpers, **more)
