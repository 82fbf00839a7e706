"""Options that several commands share, each worded once."""

from __future__ import annotations

from oci.cli.failures import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from oci.cli.declared import *  # noqa: F403
    from oci.spec import Platform
else:

    def __getattr__(name):
        """The declarations, asked for by typer alone."""
        if name.startswith("_"):  # __path__, which every `from` statement looks for
            raise AttributeError(name)
        from oci.cli import declared

        return getattr(declared, name)


# As oci.streams.compression_write.LEVELS has them (a test holds one against the other); that takes long to import.
_LEVELS = {"none": range(0), "gzip": range(10), "zstd": range(1, 20)}


def parse_compression(text: str) -> tuple[str, int | None]:
    """`gzip`, `zstd:19`, `none` → the name and the level (None: the default)."""
    name, colon, level = text.partition(":")
    if name not in _LEVELS:
        raise UsageError(f"--compression {text!r}: not one of gzip, zstd, none")
    if not colon:
        return name, None
    levels = _LEVELS[name]
    if not (level.isascii() and level.isdigit() and int(level) in levels):
        known = f"a level from {levels[0]} to {levels[-1]}" if levels else "no level"
        raise UsageError(f"--compression {text!r}: {name} takes {known}")
    return name, int(level)


def parse_labels(words: Iterable[str]) -> dict[str, str]:
    """`--label NAME=VALUE` or NAME → a map; the last of a name counts."""
    labels = {}
    for word in words:
        name, _, value = word.partition("=")
        if not name:
            from oci.errors import show

            raise UsageError(f"--label {show(word)!r}: expected NAME=VALUE")
        labels[name] = value
    return labels


def parse_platform(text: str | None) -> Platform | None:
    """`--platform` → a Platform; None stays None."""
    if text is None:
        return None
    from oci.errors import InvalidPlatform
    from oci.spec import Platform

    try:
        return Platform.parse(text)
    except InvalidPlatform as error:
        raise UsageError(str(error)) from None
