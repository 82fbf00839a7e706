"""Which paths a container's mounts and working directory need, and which volumes its image wants: what `create` asks.

Apart from config.py, so that making a container imports nothing of what only its start needs.
"""

from __future__ import annotations

from oci.errors import LimitExceeded
from oci.runtime import mounts
from oci.runtime.inside import absolute, below, settle
from oci.runtime.settings import RunSettings
from oci.spec.config import ImageConfig
from oci.spec.record import Record

__all__ = ["MountPoint", "image_volumes", "mount_points", "working_directory"]


MAX_VOLUMES = 1000  # that an image declares: each is a folder and a row for every container of it


class MountPoint(Record):
    """A path that has to be there before the container starts: "dir" or "file".

    `mode` is what it gets where the image hasn't got it. runc up to 1.1 gives a tmpfs the mode of the directory that
    it covers, whatever the options say; so a place made for one has the mode that the tmpfs shall have.
    `purpose` is what an error says of it.
    """

    path: str
    kind: str
    mode: int = 0o755
    purpose: str = "mount at"


def working_directory(image: ImageConfig, settings: RunSettings) -> str:
    """The absolute path of the working directory, in its plain form; links not yet settled. Raises InvalidInput."""
    if settings.workdir is not None:
        return absolute(settings.workdir, "working directory")
    return absolute(image.run.working_dir or "/", "working directory of the image")


def image_volumes(image: ImageConfig, settings: RunSettings) -> tuple[str, ...]:
    """Paths of the image's Volumes for which nothing was asked: each wants an anonymous volume.

    Raises InvalidInput, LimitExceeded.
    """
    declared = image.run.volumes or ()
    if len(declared) > MAX_VOLUMES:
        raise LimitExceeded("volumes of the image", MAX_VOLUMES, len(declared))
    asked = {absolute(mount.target, "mount") for mount in settings.mounts}
    paths = dict.fromkeys(absolute(path, "volume of the image") for path in declared)
    return tuple(path for path in paths if path not in asked)


def mount_points(settings: RunSettings, image: ImageConfig, root_fd: int | None = None) -> tuple[MountPoint, ...]:
    """What has to be there for the document's mounts and working directory, parents before children.

    With `root_fd`, the image's tree, paths are settled in it; without, they stand as written, and whoever makes them
    has to mind the image's links. What is there already may be among them. Raises InvalidInput.
    """
    kinds = {"/proc": "dir", "/dev": "dir", "/sys": "dir"}
    places = mounts.asked(settings, root_fd)
    targets = [place.target for place in places]
    for path in mounts.FILES:
        kinds[path if root_fd is None else settle(root_fd, path, path)] = "file"
    for place in places:
        kinds[place.target] = mounts.kind_of(place.setting)
    for device in settings.devices:
        kinds[absolute(device.target, "--device")] = "file"
    directory = working_directory(image, settings)
    directory = directory if root_fd is None else settle(root_fd, directory, "working directory", targets)
    purposes = {} if directory in kinds else {directory: "working directory"}
    kinds.setdefault(directory, "dir")
    covers = {"/proc", "/dev", "/sys", *targets}
    modes = {place.target: mounts.tmpfs_mode(place.setting) for place in places if place.setting.type == "tmpfs"}
    made = [
        MountPoint(path=path, kind=kind, mode=modes.get(path, 0o755), purpose=purposes.get(path, "mount at"))
        for path, kind in kinds.items()
        if path != "/" and not any(path != cover and below(path, cover) for cover in covers)
    ]
    return tuple(sorted(made, key=lambda point: (point.path.count("/"), point.path)))
