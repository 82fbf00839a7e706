"""A registry in a dictionary, behind a `ScriptedServer`, made to be bent: what one vendor or attacker does differently.

::

    with ScriptedServer() as server:
        server.on("GET", r"/v2/app/blobs/.*", moved)     # the difference: rules are asked in order
        shelf = Shelf.of(layout)                         # all else answers by the spec
        shelf.serve(server)
        pull(server.host, tmp_path / "back")

`Shelf` is the distribution-spec in its plainest form: no authentication, one namespace of blobs for all repositories.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.support.commands import digests_of
from tests.support.images import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, digest
from tests.support.scripted import Answer, Request, ScriptedServer

JSON = {"Content-Type": "application/json"}
_DOCUMENTS = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)
_RANGE = re.compile(r"(?:bytes[= ])?(\d+)-(\d*)(?:/.*)?")


def refused(status: int, code: str, message: str = "no", **headers: str) -> Answer:
    """An error answer by spec.md#error-codes; header names have _ for -."""
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": None}]}).encode()
    return Answer(status, {**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}, body)


class Shelf:
    """What is in the registry; the flags say which of the spec's MAYs it keeps."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}  # digest or tag → media type, bytes
        self.uploads: dict[str, bytearray] = {}
        self.mounts: list[tuple[str, str]] = []
        self.digest_header = True
        self.referrers_api = False
        self.takes_mounts = True
        self.location: Callable[[str], str] = lambda path: path  # of a path, what stands in the Location header
        self.min_chunk: int | None = None
        self._lock = threading.Lock()

    @classmethod
    def of(cls, layout: Path) -> Shelf:
        """All that a layout holds; its tags are tags of every repository."""
        shelf = cls()
        for path in (layout / "blobs/sha256").iterdir():
            data = path.read_bytes()
            shelf.blobs[f"sha256:{path.name}"] = data
            kind = _kind_of(data)
            if kind is not None:
                shelf.manifests[f"sha256:{path.name}"] = (kind, data)
        for tag, name in digests_of(layout).items():
            shelf.manifests[tag] = shelf.manifests[name]
        return shelf

    def serve(self, server: ScriptedServer) -> None:
        """Answer all that no rule before this took."""
        server.on(".*", r".*", self.answer)

    def answer(self, request: Request) -> Answer:
        url = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/v2/":
            return Answer(200, JSON, b"{}")
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs/uploads|blobs|tags|referrers)/([^/]*)", url.path)
        if found is None:
            return Answer(404, {"Content-Type": "text/plain"}, b"404 page not found\n")
        name, kind, reference = found.groups()
        with self._lock:
            match (kind, request.method):
                case ("manifests", "GET" | "HEAD"):
                    return self._manifest(reference)
                case ("manifests", "PUT"):
                    return self._put_manifest(name, reference, request)
                case ("manifests", "DELETE"):
                    known = self.manifests.pop(reference, None)
                    return Answer(202) if known is not None else refused(404, "MANIFEST_UNKNOWN")
                case ("blobs", "GET" | "HEAD"):
                    return self._blob(reference, request)
                case ("blobs/uploads", _):
                    return self._upload(name, reference, request, query)
                case ("tags", "GET"):
                    tags = sorted(tag for tag in self.manifests if not tag.startswith("sha256:"))
                    return Answer(200, JSON, json.dumps({"name": name, "tags": tags}).encode())
                case ("referrers", "GET") if self.referrers_api:
                    return self._referrers(reference)
        return Answer(404, {"Content-Type": "text/plain"}, b"404 page not found\n")

    def _manifest(self, reference: str) -> Answer:
        if reference not in self.manifests:
            return refused(404, "MANIFEST_UNKNOWN", "manifest unknown")
        kind, data = self.manifests[reference]
        return Answer(200, {"Content-Type": kind, **self._digest(data)}, data)

    def _put_manifest(self, name: str, reference: str, request: Request) -> Answer:
        kind = request.headers.get("content-type", "")
        value = json.loads(request.body)
        wanted = [value["config"], *value["layers"]] if "config" in value else []
        if missing := [one["digest"] for one in wanted if one["digest"] not in self.blobs]:
            return refused(400, "MANIFEST_BLOB_UNKNOWN", f"blob unknown: {missing[0]}")
        if missing := [one["digest"] for one in value.get("manifests", ()) if one["digest"] not in self.manifests]:
            return refused(400, "MANIFEST_BLOB_UNKNOWN", f"manifest unknown: {missing[0]}")
        actual = digest(request.body)
        self.manifests[actual] = self.manifests[reference] = (kind, request.body)
        headers = {"Location": self.location(f"/v2/{name}/manifests/{actual}"), **self._digest(request.body)}
        if self.referrers_api and "subject" in value:
            headers["OCI-Subject"] = value["subject"]["digest"]
        return Answer(201, headers)

    def _blob(self, reference: str, request: Request) -> Answer:
        if reference not in self.blobs:
            return refused(404, "BLOB_UNKNOWN", "blob unknown to registry")
        data = self.blobs[reference]
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **self._digest(data)}
        asked = _RANGE.fullmatch(request.headers.get("range", ""))
        if asked is None or request.method == "HEAD":
            return Answer(200, headers, data)
        start, end = int(asked[1]), int(asked[2] or len(data) - 1)
        return Answer(206, headers | {"Content-Range": f"bytes {start}-{end}/{len(data)}"}, data[start : end + 1])

    def _upload(self, name: str, reference: str, request: Request, query: dict[str, str]) -> Answer:
        if request.method == "POST":
            return self._start(name, request, query)
        if reference not in self.uploads:
            return refused(404, "BLOB_UPLOAD_UNKNOWN")
        held = self.uploads[reference]
        place = self.location(f"/v2/{name}/blobs/uploads/{reference}?_state={len(held)}")
        if request.method == "GET":
            return Answer(204, {"Location": place, "Range": f"0-{max(len(held) - 1, 0)}"})
        if request.method == "DELETE":
            del self.uploads[reference]
            return Answer(204)
        if query.get("_state", "0") != str(len(held)):
            return refused(400, "BLOB_UPLOAD_INVALID", "the query of the last Location was not kept")
        stands = _RANGE.fullmatch(request.headers.get("content-range", ""))
        if stands is not None and int(stands[1]) != len(held):
            return Answer(416, {"Location": place, "Range": f"0-{max(len(held) - 1, 0)}"})
        held += request.body
        if request.method == "PATCH":
            place = self.location(f"/v2/{name}/blobs/uploads/{reference}?_state={len(held)}")
            return Answer(202, {"Location": place, "Range": f"0-{max(len(held) - 1, 0)}"})
        del self.uploads[reference]
        return self._finish(name, bytes(held), query.get("digest", ""))

    def _start(self, name: str, request: Request, query: dict[str, str]) -> Answer:
        if "mount" in query and self.takes_mounts and query["mount"] in self.blobs:
            self.mounts.append((query.get("from", ""), query["mount"]))
            return Answer(201, {"Location": self.location(f"/v2/{name}/blobs/{query['mount']}")})
        if "digest" in query:
            return self._finish(name, request.body, query["digest"])
        reference = f"upload-{len(self.uploads)}-{len(self.blobs)}"
        self.uploads[reference] = bytearray()
        headers = {"Location": self.location(f"/v2/{name}/blobs/uploads/{reference}?_state=0"), "Range": "0-0"}
        if self.min_chunk is not None:
            headers["OCI-Chunk-Min-Length"] = str(self.min_chunk)
        return Answer(202, headers)

    def _finish(self, name: str, data: bytes, wanted: str) -> Answer:
        actual = f"{wanted.partition(':')[0]}:{hashlib.new(wanted.partition(':')[0] or 'sha256', data).hexdigest()}"
        if actual != wanted:
            return refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.blobs[wanted] = data
        return Answer(201, {"Location": self.location(f"/v2/{name}/blobs/{wanted}"), **self._digest(data)})

    def _referrers(self, subject: str) -> Answer:
        found = []
        for name, (kind, data) in self.manifests.items():
            value = json.loads(data)
            if name.startswith("sha256:") and value.get("subject", {}).get("digest") == subject:
                made = {"mediaType": kind, "digest": name, "size": len(data), "artifactType": value.get("artifactType")}
                found.append(made | {"annotations": value.get("annotations", {})})
        body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}).encode()
        return Answer(200, {"Content-Type": OCI_INDEX}, body)

    def _digest(self, data: bytes) -> dict[str, str]:
        return {"Docker-Content-Digest": digest(data)} if self.digest_header else {}


def _kind_of(data: bytes) -> str | None:
    """The media type of a document of ours; None for other blobs."""
    if not data.startswith(b'{"schemaVersion"'):
        return None
    kind = json.loads(data).get("mediaType")
    return kind if kind in _DOCUMENTS else None
