"""The inputs of the benchmarks: a real Debian image in three layers and synthetic ones of a given number of entries.

Nothing here uses ocikit: layouts are written with hashlib, json, tarfile and the machine's own gzip tool, so that a
fault of ours can't make a benchmark easy. Everything goes to a work folder (a tmpfs by preference); the Debian trees
are kept as tar files in a cache folder, because making them takes minutes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

PACKAGES = "libboost1.74-dev,git,python3,manpages-dev,python3-django,linux-libc-dev"
SUITE = "bookworm"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def debian_tar(cache: Path, *, include: str = "") -> Path:
    """Return a tar of a Debian root with the packages `include`, made by mmdebstrap when the cache lacks it."""
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"debian-{hashlib.sha256((SUITE + include).encode()).hexdigest()[:12]}.tar"
    if not target.exists():
        if shutil.which("mmdebstrap") is None:
            raise SystemExit("the benchmarks need mmdebstrap (apt-get install mmdebstrap)")
        partial = target.with_suffix(".part.tar")
        extra = [f"--include={include}"] if include else []
        subprocess.run(["mmdebstrap", "--variant=minbase", *extra, SUITE, partial], check=True, capture_output=True)
        partial.rename(target)
    return target


def debian_image(work: Path, cache: Path) -> Path:
    """Make the real image: a minimal Debian, then packages on it, then a clean-up with some new and changed files."""
    layout = work / "debian"
    if (layout / "index.json").exists():
        return layout
    minimal, full = debian_tar(cache), debian_tar(cache, include=PACKAGES)
    layers = []
    with tarfile.open(minimal) as below:
        known = {member.name: _signature(member) for member in below if not member.issparse()}
    names: set[str] = set()
    for number, (source, skip) in enumerate(((minimal, {}), (full, known))):
        path = work / f"layer{number}.tar"
        with tarfile.open(source) as archive, tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as out:
            for member in archive:
                noise = member.name.startswith(("./dev/", "./var/cache/apt/", "./var/lib/apt/lists/"))
                if noise or skip.get(member.name) == _signature(member):
                    continue
                member.pax_headers = {}
                member.mtime = int(member.mtime)
                names.add(member.name)
                out.addfile(member, archive.extractfile(member) if member.isreg() else None)
        layers.append(path)
    path = work / "layer2.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as out:
        _add(out, "./usr/share/.wh.doc", b"")
        _add(out, "./usr/share/.wh.locale", b"")
        changed = sorted(
            n for n in names if n.startswith("./usr/lib/python3/dist-packages/django/") and n.endswith(".py")
        )
        for name in changed[:800]:
            _add(out, name, b"# changed by the last layer\n" * 20)
        for number in range(2000):
            _add(out, f"./srv/app/part{number % 40:02}/module{number:04}.py", f"value = {number}\n".encode() * 60)
    layers.append(path)
    return write_layout(layout, layers)


def synthetic_image(work: Path, entries: int) -> Path:
    """Make an image of one layer with `entries` small files, 100 a folder."""
    layout = work / f"synthetic-{entries}"
    if (layout / "index.json").exists():
        return layout
    path = work / f"synthetic-{entries}.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as out:
        for number in range(entries):
            if number % 100 == 0:
                folder = tarfile.TarInfo(f"data/{number // 10000:03}/{number // 100:05}")
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                out.addfile(folder)
                continue
            _add(out, f"data/{number // 10000:03}/{number // 100:05}/file{number:07}.txt", b"%d\n" % number * 10)
            out.members.clear()  # tarfile keeps them all, and a large parent's memory counts as that of its children
    return write_layout(layout, [path])


def write_layout(layout: Path, tars: list[Path], *, compress: Callable[[Path, Path], None] | None = None) -> Path:
    """Write an OCI layout of one image, tagged `latest`, with these tar files as its layers; removes the tars."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    descriptors, diff_ids = [], []
    for tar in tars:
        diff_ids.append("sha256:" + _digest(tar))
        packed = layout / "packed"
        (compress or _gzip)(tar, packed)
        digest = _digest(packed)
        media_type = "application/vnd.oci.image.layer.v1.tar+gzip"
        descriptors.append({"mediaType": media_type, "digest": f"sha256:{digest}", "size": packed.stat().st_size})
        packed.rename(blobs / digest)
        tar.unlink()
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    config = _document(
        blobs,
        {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}},
        "application/vnd.oci.image.config.v1+json",
    )
    manifest_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = _document(
        blobs,
        {"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": descriptors},
        manifest_type,
    )
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    return layout


def layer_paths(layout: Path) -> list[Path]:
    """The files of the layout's one image's layers, bottom first."""
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(_blob(layout, index["manifests"][0]["digest"]).read_text())
    return [_blob(layout, layer["digest"]) for layer in manifest["layers"]]


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def _signature(member: tarfile.TarInfo) -> tuple[object, ...]:
    return (member.type, member.size, int(member.mtime), member.mode, member.uid, member.gid, member.linkname)


def _add(out: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(data), 1700000000, 0o644
    out.addfile(member, io.BytesIO(data))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _gzip(source: Path, target: Path) -> None:
    if shutil.which("igzip"):
        with source.open("rb") as stdin, target.open("wb") as stdout:
            subprocess.run(["igzip", "-2", "-c"], stdin=stdin, stdout=stdout, check=True)
    else:
        with source.open("rb") as data, gzip.open(target, "wb", 5) as packed:
            shutil.copyfileobj(data, packed, 1 << 20)


def _document(blobs: Path, value: dict[str, object], media_type: str) -> dict[str, object]:
    raw = json.dumps(value).encode()
    digest = hashlib.sha256(raw).hexdigest()
    (blobs / digest).write_bytes(raw)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(raw)}
