"""The container's own /etc/hosts, /etc/hostname and /etc/resolv.conf: bound over the image's, never in a layer.

As docker makes them: with the host's network its names count too, without a network there is nobody but localhost.
They are written anew at every start, for this machine's name servers may have changed.
"""

from __future__ import annotations

import os

from oci.errors import InvalidInput, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.runtime.settings import RunSettings

__all__ = ["MAX_ETC_FILE", "hostname_of", "write_etc_files"]

MAX_ETC_FILE = 1 << 20  # bytes of this machine's /etc/hosts or /etc/resolv.conf; some block lists come near
_LOCALHOST = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)
_SLIRP_DNS = "10.0.2.3"  # slirp4netns(1): its own name server


def hostname_of(settings: RunSettings, id: str) -> str:
    """The name that was asked for; else this machine's with its network, and a piece of the ID with one's own."""
    if settings.hostname:
        return settings.hostname
    return os.uname().nodename if settings.network == "host" else id[:12]


def write_etc_files(folder: str, settings: RunSettings, hostname: str) -> None:
    """Write the files `hosts`, `hostname` and `resolv.conf` of a container's folder."""
    _write(f"{folder}/hosts", _hosts(settings, hostname))
    _write(f"{folder}/hostname", f"{hostname}\n".encode())
    _write(f"{folder}/resolv.conf", _resolv_conf(settings))


def _hosts(settings: RunSettings, hostname: str) -> bytes:
    added = "".join(f"{_word(address)}\t{_word(name)}\n" for name, address in settings.add_hosts)
    if settings.network == "host":
        return _read("/etc/hosts") + added.encode()
    return f"{_LOCALHOST}127.0.1.1\t{_word(hostname)}\n{added}".encode()


def _resolv_conf(settings: RunSettings) -> bytes:
    """This machine's, with what was asked for in place of its own lines (resolv.conf(5))."""
    servers = settings.dns or ((_SLIRP_DNS,) if settings.network == "slirp4netns" else ())
    chosen = {
        b"nameserver": [f"nameserver {_word(server)}\n" for server in servers],
        b"search": [f"search {' '.join(map(_word, settings.dns_search))}\n"] if settings.dns_search else [],
        b"options": [f"options {' '.join(map(_word, settings.dns_options))}\n"] if settings.dns_options else [],
    }
    replaced = {word for word, lines in chosen.items() if lines}
    if b"search" in replaced:
        replaced.add(b"domain")
    kept = [
        line
        for line in _read("/etc/resolv.conf").splitlines(keepends=True)
        if (line.split() or [b""])[0] not in replaced
    ]
    own = "".join(line for lines in chosen.values() for line in lines).encode()
    text = b"".join(kept)
    return text + (b"\n" if own and text and not text.endswith(b"\n") else b"") + own


def _word(text: str) -> str:
    """Text that stays one word of a line."""
    if not text or any(character.isspace() or ord(character) < 0x20 for character in text):
        raise InvalidInput(f"{show(text)!r} can't stand in a file of hosts or name servers: empty, or with spaces")
    return text


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_ETC_FILE)
    except OSError:
        return b""


def _write(path: str, data: bytes) -> None:
    """In place: a container that runs has the file itself mounted. What was there is of the run before."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        os.fchmod(fd, 0o644)
        os.write(fd, data)
    finally:
        os.close(fd)
