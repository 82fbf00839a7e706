"""`bundle REF DIR`: a runtime bundle that plain `runc run -b DIR NAME` runs (runtime-spec v1.2 bundle.md).

::

    DIR/config.json    the process, its mounts and namespaces; paths in it are absolute, so DIR stays where it is
    DIR/rootfs/        the root directory: the image's files (copy), or where the runtime mounts them (overlay)
    DIR/upper/ work/   what the container writes (overlay)
    DIR/layers/N       links to the store's layers, bottom first; DIR/init: mount points that they lack (overlay)
    DIR/volumes/N/     data of anonymous volumes, filled with what the image has there
    DIR/hosts hostname resolv.conf   bound over those of the image
    DIR/mounts.json    what of it the runtime mounts as its root, and the command that does the same by hand (overlay)

Nothing is mounted beforehand and nothing is left mounted. With `overlay` the first of config.json's mounts is the
merged tree, with the destination `/`: the runtime mounts it over rootfs, in the container's own mount namespace, in a
user namespace too. The layers stay the store's, so the image must stay there as long as the bundle is used. A `copy`
has all files to itself, and needs neither a store nor rights.

An ordinary user's bundle makes a user namespace; a runtime sets up the id maps that it says as for itself.

DIR appears whole or not at all: it is made beside its place, and renamed.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from oci.container.copying import copy_out
from oci.container.etc_files import hostname_of, write_etc_files
from oci.container.inside import Inside
from oci.errors import ConfigurationError, DestinationError, InvalidInput, NotFound
from oci.runtime.config import Facts, runtime_config
from oci.runtime.mount_points import image_volumes, mount_points
from oci.runtime.settings import MountSetting
from oci.spec.record import Record
from oci.unpack.rootfs import unpack
from oci.unpack.scratch import clear_leftovers, scratch_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oci.drivers.driver import Form
    from oci.drivers.snapshot import Snapshot
    from oci.image.image import Image
    from oci.linux.idmaps import IdMap, IdMaps
    from oci.runtime.mount_points import MountPoint
    from oci.runtime.settings import RunSettings
    from oci.spec.config import ImageConfig

__all__ = ["Ids", "Layers", "make_bundle"]

Named = Callable[[MountSetting, int], str]
"""A mount of a named volume and the image's root directory → the volume's folder."""

MAX_OPTIONS = 4095  # bytes of a mount's options as runtimes give them to mount(2): a page, with its NUL

_OVERLAY = ("index=off", "metacopy=off", "redirect_dir=nofollow", "xino=auto")


class Layers(Record):
    """An image's layers in a store: their trees, bottom first, and how marks in them are written."""

    folders: tuple[str, ...]
    form: Form


class Ids(Record):
    """Whose ids there will be: `maps` as they are outside; `namespace`: the container makes a user namespace of them.

    `single`: files are all one user's, whoever owned them in the image.
    """

    maps: IdMaps
    namespace: bool
    single: bool


def make_bundle(
    image: Image,
    dest: str,
    settings: RunSettings,
    ids: Ids,
    *,
    layers: Layers | None = None,
    named: Named | None = None,
    warn: Callable[[str], None] | None = None,
) -> str:
    """Make a bundle of an image in the directory `dest`, which is empty or absent; its absolute path.

    With `layers` the tree is mounted by the runtime; without, all files are unpacked. `named` gives the folder of a
    named volume, for the mount that wants it and the image's root directory.

    DestinationError for an unusable DIR, DriverError where the layers can't be mounted with a writable one in DIR,
    ConfigurationError for too many of them, InvalidInput for settings that don't fit the image, and what unpacking
    raises.
    """
    config = image.config.model
    with _new_folder(dest) as (scratch, final):
        maker = _Maker(scratch, final, ids)
        if layers is None:
            unpack(image, f"{scratch}/rootfs", rootless=ids.single or None, warn=warn)
            with _opened(f"{scratch}/rootfs") as root:
                document = maker.document(config, settings, named, root, warn)
        else:
            from oci.drivers.overlay import Overlay

            snapshot = maker.stack(layers, mount_points(settings, config))
            driver = Overlay(layers.form)
            driver.prepare(snapshot)
            os.rename(snapshot.merged, f"{scratch}/rootfs")
            os.chmod(f"{scratch}/rootfs", 0o755)
            with driver.root(snapshot, writable=True) as root:  # as the runtime will: what can't be is seen now
                document = maker.document(config, settings, named, root, warn)
            document["mounts"] = [maker.overlay(snapshot, layers), *document["mounts"]]
        _write(f"{scratch}/config.json", document)
    return final


class _Maker:
    """One bundle: where it is being made, and where it will be."""

    def __init__(self, scratch: str, final: str, ids: Ids) -> None:
        self._scratch, self._final, self._ids = scratch, final, ids

    def document(
        self,
        config: ImageConfig,
        settings: RunSettings,
        named: Named | None,
        root: int,
        warn: Callable[[str], None] | None,
    ) -> dict[str, Any]:
        """config.json, and what it binds."""
        settings, volumes = self._volumes(config, settings, named, root, warn)
        name = os.path.basename(self._final)
        hostname = hostname_of(
            settings, "".join(c for c in name if c.isascii() and (c.isalnum() or c in "-.")) or "oci"
        )
        write_etc_files(self._scratch, settings, hostname)
        initial = self._ids.maps.identity and not self._ids.namespace
        facts = Facts(
            id=name,
            root="rootfs",
            root_fd=root,
            maps=self._ids.maps,
            initial=initial,
            hostname=hostname,
            hosts=f"{self._scratch}/hosts",
            hostname_file=f"{self._scratch}/hostname",
            resolv_conf=f"{self._scratch}/resolv.conf",
            volumes=volumes,
        )
        document: dict[str, Any] = runtime_config(config, settings, facts)
        for mount in document["mounts"]:  # looked at where they are, said where they will be
            if mount.get("source", "").startswith(f"{self._scratch}/"):
                mount["source"] = self._final + mount["source"][len(self._scratch) :]
        if self._ids.namespace:
            if len(document["process"]["user"].pop("additionalGids", ())) > 1 and warn is not None:
                warn("the user's further groups are left out: a rootless runtime can't set them")
            linux = document["linux"]
            linux["namespaces"] = [{"type": "user"}, *linux["namespaces"]]
            linux["uidMappings"] = [_mapping(one) for one in self._ids.maps.uids]
            linux["gidMappings"] = [_mapping(one) for one in self._ids.maps.gids]
        return document

    def _volumes(
        self,
        config: ImageConfig,
        settings: RunSettings,
        named: Named | None,
        root: int,
        warn: Callable[[str], None] | None,
    ) -> tuple[RunSettings, dict[str, str]]:
        """The settings with the image's volumes among them, and the folder of each volume by its target."""
        wanted = [
            *settings.mounts,
            *(MountSetting(type="volume", target=path) for path in image_volumes(config, settings)),
        ]
        folders: dict[str, str] = {}
        inside = Inside(root, where="the image")
        for mount in wanted:
            if mount.type != "volume":
                continue
            if mount.source:
                folders[mount.target] = self._named(named, mount, root)
                continue
            os.makedirs(f"{self._scratch}/volumes", exist_ok=True)
            folder = f"{self._scratch}/volumes/{len(os.listdir(f'{self._scratch}/volumes'))}"
            self._fill(folder, inside, os.fsencode(mount.target), mount.nocopy, warn)
            folders[mount.target] = folder
        return settings.replace(mounts=tuple(wanted)), folders

    @staticmethod
    def _named(named: Named | None, mount: MountSetting, root: int) -> str:
        if named is None:
            raise InvalidInput(f"volume {mount.source!r}: there is no store to have it")
        return named(mount, root)

    def _fill(self, folder: str, inside: Inside, path: bytes, empty: bool, warn: Callable[[str], None] | None) -> None:
        """Make an anonymous volume's folder, with what the image has in its place."""
        if not empty:
            try:
                with inside.locate(path) as place:
                    if place.is_directory:
                        copy_out(inside, b"/" + place.real, folder, archive=True, warn=warn)
            except NotFound:
                pass
        if not os.path.isdir(folder):
            os.mkdir(folder, 0o755)
            os.chmod(folder, 0o755)

    def stack(self, layers: Layers, points: Iterable[MountPoint]) -> Snapshot:
        """The links to layers and the scaffold above them."""
        from oci.container.scaffold import make_scaffold
        from oci.drivers.snapshot import Snapshot

        os.mkdir(f"{self._scratch}/layers")
        for number, folder in enumerate(layers.folders):
            os.symlink(folder, f"{self._scratch}/layers/{number}")
        scaffold = f"{self._scratch}/init"
        made = make_scaffold(scaffold, layers.folders, layers.form, points)
        return Snapshot(folder=self._scratch, layers=layers.folders, scaffold=scaffold if made else None)

    def overlay(self, snapshot: Snapshot, layers: Layers) -> dict[str, object]:
        """The document's entry for the merged tree; and mounts.json, which says the same for people."""
        lowers = [f"{self._final}/layers/{number}" for number in reversed(range(len(layers.folders)))]
        if snapshot.scaffold is not None:
            lowers.insert(0, f"{self._final}/init")
        if any(mark in self._final for mark in ":,\\"):
            raise ConfigurationError(
                self._final, "a path with ':', ',' or '\\' can't be said to overlay; use --driver copy"
            )
        options = [
            f"lowerdir={':'.join(lowers or [f'{self._final}/empty'])}",
            f"upperdir={self._final}/upper",
            f"workdir={self._final}/work",
            *_OVERLAY,
            *(["userxattr"] if layers.form == "user" else []),
        ]
        if len(",".join(options)) > MAX_OPTIONS:
            raise ConfigurationError(
                self._final,
                f"{len(layers.folders)} layers are more than a runtime can say to overlay in one mount"
                " (a shorter path may do); use --driver copy",
            )
        command = ["mount", "-t", "overlay", "overlay", "-o", ",".join(options), f"{self._final}/rootfs"]
        _write(
            f"{self._scratch}/mounts.json",
            {
                "mounts": [
                    {
                        "destination": "/",
                        "type": "overlay",
                        "options": options,
                        "by": "the runtime, from config.json",
                        "command": shlex.join(command),
                    }
                ]
            },
        )
        return {"destination": "/", "type": "overlay", "source": "overlay", "options": options}


def _mapping(one: IdMap) -> dict[str, int]:
    return {"containerID": one.inside, "hostID": one.outside, "size": one.size}


def _write(path: str, document: Mapping[str, object]) -> None:
    """People edit these files, so they are laid out for them."""
    with open(path, "x", encoding="utf-8") as file:
        json.dump(document, file, indent=2, ensure_ascii=False)
        file.write("\n")


@contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _new_folder(dest: str) -> Iterator[tuple[str, str]]:
    """A folder beside DEST, which gets its name at the end; (its path, the final one)."""
    final = os.path.realpath(dest)
    parent, name = os.path.split(final)
    if not name or not name.isprintable():
        raise DestinationError(dest, "a folder with a name is needed")
    try:
        if os.path.lexists(final) and (not os.path.isdir(final) or os.listdir(final)):
            raise DestinationError(dest, "is not empty; choose another folder")
        parent_fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        reason = "its folder doesn't exist; make it first" if error.errno == errno.ENOENT else error.strerror
        raise DestinationError(dest, str(reason)) from error
    raw = os.fsencode(name)
    try:
        clear_leftovers(parent_fd, raw)
        with scratch_directory(parent_fd, raw, dest) as (scratch, _):
            yield os.path.join(parent, os.fsdecode(scratch)), final
            try:
                os.rename(scratch, raw, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
            except OSError as error:
                raise DestinationError(dest, f"was made by another program meanwhile ({error.strerror})") from error
    finally:
        os.close(parent_fd)


def named_volumes(settings: RunSettings) -> Sequence[str]:
    """The names of the volumes that settings ask for."""
    return [mount.source for mount in settings.mounts if mount.type == "volume" and mount.source]


def refuse_what_bundles_lack(settings: RunSettings) -> None:
    """Raise InvalidInput for settings that need somebody who stays, as a container of the store has."""
    if settings.network == "slirp4netns" or settings.publish:
        raise InvalidInput("a bundle has no program for its network: --network host or none")
