"""A mount of another mount namespace, as a descriptor: a child goes there, copies it, and hands the copy over.

open_tree(2) copies mounts of the caller's own namespace only; the copy belongs to none, and may be attached in any.
"""

from __future__ import annotations

import os
import socket

from oci.linux import fsmount, namespaces

__all__ = ["open_elsewhere"]

_NUMBER = 8  # bytes in which the child says why it couldn't


def open_elsewhere(pid: int, path: str) -> int:
    """A detached copy (O_PATH) of the mount that the process `pid` has at `path`. OSErrors name the path."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                ours.close()
                namespaces.join(pid, mount=True)
                fd = fsmount.open_tree(path)
                socket.send_fds(theirs, [bytes(_NUMBER)], [fd])
                status = 0
            except OSError as error:
                theirs.send((error.errno or 1).to_bytes(_NUMBER, "little"))
            finally:
                os._exit(status)
        theirs.close()
        try:
            said, descriptors, _, _ = socket.recv_fds(ours, _NUMBER, 1)
        finally:
            os.waitpid(child, 0)
    if descriptors:
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]
    number = int.from_bytes(said, "little") or 1
    raise OSError(number, os.strerror(number), path)
