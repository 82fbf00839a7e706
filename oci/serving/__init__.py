"""A registry over an image layout directory (distribution-spec v1.1.1), for CI, development and tests.

====================  ==================================================================================
`server`              Server: what it needs is looked at, opened, and closed again
`sockets`             sockets, threads, keep-alive and the end, by cheroot
`gateway`             one request on a connection of cheroot's, and its answer sent
`incoming`            a request's head and body as they come from a socket, bounded in size and in time
`exchange`            Request, Answer, and the spec's errors as JSON: what the parts below talk in
`app`                 which URL is which endpoint; authentication, read-only, and any failure as an answer
`pulling`             blobs and manifests going out
`pushing`             uploads, mounts and manifests coming in; deletes
`listing`             tags, referrers and the catalog, page by page
`ranges`              the byte ranges that requests name
`store`               many repositories in one layout: which documents and blobs belong to which
`naming`              which entry of index.json is which tag of which repository
`contents`            what a manifest or index says, read once and kept
`uploads`             blobs on their way in, resumable after a restart
`passwords`           Basic authentication by an htpasswd file
====================  ==================================================================================

`registry` is the client; the two share nothing but the words of the spec, so that neither hides the other's mistakes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.serving.server import Server

__all__ = ["Server"]


def __getattr__(name: str) -> object:
    if name == "Server":
        from oci.serving.server import Server

        return Server
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
