"""Writes docs/cli.md from the commands themselves: `make docs`. With --check, only says whether it is current."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Container
from pathlib import Path
from typing import Any

from oci.cli.app import TABLE, command_tree

PAGE = Path(__file__).resolve().parent / "cli.md"

HEAD = """\
# The command line

<!-- Made by `make docs` from oci/cli; edit the docstrings there. -->

## For every command

- **Exit status**: 0 done; 1 the operation failed, or what was checked does not hold; 2 wrong usage; 130 interrupted
  (Ctrl-C), 143 ended by SIGTERM, both after cleaning up. `run`, `exec`, `start -a` and `attach` exit with the
  container's own status, and with 125 to 127 as docker does. Where the reader of its output goes away
  (`ocikit files … | head`) ocikit ends without a word, with 141, as programs do that SIGPIPE ends.
- **Errors** are one line on stderr, `error: …`: what, where, and what to do. `--debug`, or `OCIKIT_DEBUG=1` in the
  environment, puts a traceback before it.
- **Results** go to stdout, notes and progress to stderr. With `--json` stdout holds one JSON document and nothing else;
  its shapes are the JSON Schemas in `schemas/cli/`. `--quiet` (`-q`) silences notes and progress, not
  warnings and errors.
- **The local store**: `--root DIR` says where it is, `--driver` and `--runtime` how containers are made; before the
  command's name or behind it.
- **Registries**: a command that reads or writes images takes `docker://…` too, and then the
  [options for registries](#options-for-registries).
- **Progress** of whatever moves or reads blobs (`copy`, `verify`, `append`, `config`, `unpack`, `artifact`, `attach`)
  is shown when it takes longer than a second. On a terminal: a bar for the whole, and below it one for each blob that
  is under way, eight at most; drawn in place, never wrapped, gone in the end. Elsewhere (a log, `TERM=dumb`): a line
  for each blob when it is begun.
- **Nothing half-done**: a command that fails or is interrupted leaves its destination as it was.
- **Names from images** are printed with control characters spelt out, so that a hostile image can't write to your
  terminal; in JSON a byte that is not UTF-8 is a lone surrogate, `\\udcXX`.

| variable | means |
| --- | --- |
| `SOURCE_DATE_EPOCH` | seconds since 1970: the time to write into images (default: none, which is reproducible too) |
| `OCIKIT_DEBUG` | `1`: as `--debug` |
| `OCIKIT_ROOT`, `OCIKIT_DRIVER`, `OCIKIT_RUNTIME` | as `--root`, `--driver`, `--runtime` |
| `XDG_DATA_HOME` | where an ordinary user's store is: `$XDG_DATA_HOME/ocikit`, else `~/.local/share/ocikit` |
| `NO_COLOR` | no colours (which ocikit has only in the word `error:`, on a terminal) |
| `REGISTRY_AUTH_FILE`, `DOCKER_CONFIG` | where credentials are kept: a file, a folder with `config.json` |
| `CONTAINERS_REGISTRIES_CONF` | as `--registries-conf` |
| `SSL_CERT_FILE`, `SSL_CERT_DIR` | authorities to trust, in place of the system's |
| `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` | how registries are reached; lower case will do |

## References

| form | means |
| --- | --- |
| `oci:PATH[:TAG]`, `oci:PATH@sha256:…` | an image in an OCI image layout directory |
| `oci-archive:FILE[:TAG]` | the same, as one tar file, which may be compressed |
| `docker-archive:FILE[:NAME:TAG]` | a `docker save` tar |
| `docker://HOST[:PORT]/REPO[:TAG][@DIGEST]` | a registry; `docker://alpine` is Docker Hub's `library/alpine:latest` |
| `./PATH[:TAG]`, `/PATH[:TAG]` | short for `oci:` |
| `NAME[:TAG][@DIGEST]`, an image ID or its beginning | an image in the [local store](containers.md) |

The tag may be left out where there is one image only; in a registry and in the store it is `latest` then. An index is
narrowed to one image by `--platform os/arch[/variant]`; the default is this machine's platform.
"""


OPTIONS = """\
## Options for registries

Every command that can ask a registry takes the first five; those that read layers take `--foreign-layers`, and `copy`
takes all of them. They mean what they mean in skopeo. [Registries](registries.md) tells what they are for.
"""


def registry_options() -> list[Any]:
    return list(command_tree().get_command(None, "copy").registry_params)


def page() -> str:
    tree = command_tree()
    parts = [HEAD]
    section = ""
    for row in TABLE:
        if row.section != section:
            section = row.section
            parts.append(f"\n## {section}\n")
        made = tree.get_command(None, row.name)
        parts.append(command(row.name, made))
        for name in (name.rstrip("_") for name in row.commands):
            parts.append(command(f"{row.name} {name}", made.get_command(None, name)))
    parts.append(f"\n{OPTIONS}\n{table(registry_options())}")
    parts.append("\n## ocikit itself\n\n" + table(tree.params))
    return "\n".join(parts).rstrip() + "\n"


def command(name: str, made: Any) -> str:
    arguments = [p for p in made.params if p.param_type_name == "argument"]
    rest = ["COMMAND"] if hasattr(made, "list_commands") else ["[OPTIONS]", *map(argument, arguments)]
    usage = " ".join(["ocikit", name, *rest])
    text = inspect.cleandoc(made.help or "").replace("\b\n", "")
    prose, _, example = text.partition("\nExample")
    lines = [f"### {name}\n", f"`{usage}`\n", prose.strip() + "\n"]
    if example:
        body = example.partition("\n")[2]
        lines.append("```sh\n" + inspect.cleandoc(body).strip() + "\n```\n")
    if hasattr(made, "list_commands"):
        return "\n".join(lines)
    more = "\nand the [options for registries](#options-for-registries)\n" if hasattr(made, "registry_params") else ""
    return "\n".join(lines) + "\n" + table(made.params, skip=("quiet", "debug")) + more


def argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    several = "…" if parameter.nargs == -1 else ""
    return f"{name}{several}" if parameter.required else f"[{name}{several}]"


def table(parameters: list[Any], skip: Container[str] = ()) -> str:
    rows = ["| | |", "| --- | --- |"]
    for parameter in parameters:
        if getattr(parameter, "hidden", False) or parameter.name in skip:
            continue
        if parameter.param_type_name == "argument":
            name = f"`{argument(parameter)}`"
        else:
            value = "" if parameter.is_flag else f" {parameter.metavar or 'TEXT'}"
            name = ", ".join(f"`{option}{value}`" for option in (*parameter.opts, *parameter.secondary_opts))
        text = inspect.cleandoc(parameter.help or "")
        rows.append(row(name, text))
    return "\n".join(rows) + "\n"


def row(name: str, text: str) -> str:
    return f"| {name.replace('|', chr(92) + '|')} | {text.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    text = page()
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.exists() and PAGE.read_text() == text else "docs/cli.md is not current: run `make docs`")
    PAGE.write_text(text)
