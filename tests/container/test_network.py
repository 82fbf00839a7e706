"""Networks: this machine's, none, and one of slirp4netns with published ports."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from oci.container.lifecycle import start, wait
from oci.container.network import reason_of
from oci.errors import RuntimeFailed
from oci.runtime.settings import PortSetting
from tests.support.containers import busybox_store, container_of, output
from tests.support.namespaces import need_mounts, rootless
from tests.support.peers import need


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def published(root: Path | None) -> None:
    root = (root or Path.cwd()) / "store"
    root.mkdir(0o700)
    port = free_port()
    ports = (PortSetting(host_address="127.0.0.1", host_port=port, container_port=80),)
    with busybox_store(root) as store:
        words = ("sh", "-c", "echo pong | busybox nc -l -p 80; cat /etc/hosts /etc/resolv.conf; hostname")
        container = container_of(store, *words, network="slirp4netns", publish=ports)
        again = container_of(store, *words, network="slirp4netns", publish=ports)
        start(container)
        with pytest.raises(RuntimeFailed, match=f"port 127.0.0.1:{port}/tcp can't be published"):
            start(again)
        deadline, said = time.monotonic() + 30, b""
        while not said and time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", port), 5) as connection:
                    said = connection.recv(100)
            except OSError:
                time.sleep(0.05)
        assert said == b"pong\n"
        assert wait(container) == 0
        seen = output(container).decode()
        assert f"127.0.1.1\t{container.id[:12]}\n" in seen
        assert "nameserver 10.0.2.3\n" in seen
        assert seen.endswith(f"{container.id[:12]}\n")


@pytest.mark.parametrize("who", ["root", "single", "ranges"])
def test_a_published_port_leads_into_the_container(who: str, tmp_path: Path) -> None:
    need("runc", "slirp4netns")
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("there is no /dev/net/tun")
    if who == "root":
        need_mounts()
        published(tmp_path)
        return
    if os.geteuid() != 0 and not os.stat("/dev/net/tun").st_mode & 0o002:
        pytest.skip("/dev/net/tun is not for ordinary users")
    rootless(published, None, ranges=who == "ranges")


def test_without_a_network_there_is_nobody_but_localhost(tmp_path: Path) -> None:
    need("runc")
    need_mounts()
    (tmp_path / "store").mkdir(0o700)
    with busybox_store(tmp_path / "store") as store:
        container = container_of(
            store,
            *("sh", "-c", "cat /proc/net/dev; cat /etc/hosts; hostname"),
            network="none",
            hostname="box",
            add_hosts=(("other", "10.1.2.3"),),
        )
        start(container)
        assert wait(container) == 0
        seen = output(container).decode()
        assert [line.split(":")[0].strip() for line in seen.splitlines()[2:3]] == ["lo"]
        assert "127.0.1.1\tbox\n10.1.2.3\tother\nbox\n" in seen


def test_the_reason_that_slirp4netns_gives_is_what_its_child_said() -> None:
    assert "/dev/net/tun" in reason_of(b'open("/dev/net/tun"): Permission denied\nchild failed(1)\n')
    assert reason_of(b"child failed(1)\n") == "child failed(1)"
    assert reason_of(b"") == "it ended without a word"
