"""The process of a container: what is run, as whom, where and with which rights (runtime-spec v1.2 config.md#process).

`process_of` makes the document's `process` for a new container, `process_config` one for `exec` in a running one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oci.errors import InvalidInput, show
from oci.runtime import capabilities, mounts, resources
from oci.runtime.env import environment
from oci.runtime.facts import Facts
from oci.runtime.inside import absolute, below, settle
from oci.runtime.mount_points import working_directory
from oci.runtime.settings import RunSettings
from oci.runtime.users import User, resolve_user
from oci.spec.config import ImageConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oci.linux.idmaps import IdMaps

__all__ = ["command", "process_config", "process_of"]


def process_of(
    image: ImageConfig,
    settings: RunSettings,
    facts: Facts,
    hostname: str,
    bounding: Sequence[str],
    mounted: Mapping[str, str | None],
) -> dict[str, Any]:
    """The document's `process`; `mounted` are the places of the settings' mounts, and their folders. InvalidInput."""
    text = settings.user if settings.user is not None else image.run.user
    user = resolve_user(facts.root_fd, text, settings.group_add)
    process: dict[str, Any] = {
        "terminal": settings.tty,
        "user": _spec_user(user, settings, facts),
        "args": _with_init(command(image, settings), settings, facts),
        "env": environment(image.run.env or (), settings.env, hostname=hostname, home=user.home, tty=settings.tty),
        "cwd": _inside_cwd(working_directory(image, settings), facts, mounted),
        "capabilities": capabilities.sets(bounding, user.uid),
        "noNewPrivileges": settings.no_new_privileges,
    }
    limits = resources.rlimits(settings.ulimits, _hard_limit)
    if limits:
        process["rlimits"] = limits
    return process


def _hard_limit(number: int) -> int:
    import resource

    return resource.getrlimit(number)[1]


def command(image: ImageConfig, settings: RunSettings) -> tuple[str, ...]:
    """What is run: docker's rules of Entrypoint, Cmd and the words behind the image's name. Raises InvalidInput."""
    if settings.entrypoint is not None:
        words = (*settings.entrypoint, *settings.args)
    else:
        words = (*(image.run.entrypoint or ()), *(settings.args or image.run.cmd or ()))
    if not words:
        raise InvalidInput("no command: the image has neither Entrypoint nor Cmd; say what to run behind its name")
    for word in words:
        _check_word(word)
    return words


def _check_word(word: str) -> None:
    if "\0" in word:
        raise InvalidInput(f"argument {show(word)!r}: a NUL in it, which no program could be given")
    try:
        word.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"argument {show(word)!r}: not UTF-8, which a runtime-spec document can't say") from None


def _with_init(words: tuple[str, ...], settings: RunSettings, facts: Facts) -> list[str]:
    if not settings.init:
        return list(words)
    if facts.init_program is None:
        raise InvalidInput("--init: no init program on this machine; install catatonit, tini or docker-init")
    return [mounts.INIT_TARGET, "--", *words]


def _inside_cwd(path: str, facts: Facts, mounted: Mapping[str, str | None]) -> str:
    """The working directory's own place. CVE-2024-21626: a process's links in /proc lead out of every root."""
    place = settle(facts.root_fd, path, "working directory", mounted)
    names = place.split("/")
    if below(place, "/proc") and len(names) > 2 and (names[2] in ("self", "thread-self") or names[2].isdigit()):
        led = "" if place == path else f" leads to {show(place)}, which"
        raise InvalidInput(f"working directory {show(path)!r}{led} is a process's own folder: nothing can start there")
    return place


def _spec_user(user: User, settings: RunSettings | None, facts: Facts) -> dict[str, object]:
    """The document's `user`. A user namespace has the ids that it maps, no others. Raises InvalidInput."""
    maps = facts.maps
    if not maps.has_uid(user.uid) or not maps.has_gid(user.gid):
        who = f"user {user.uid}:{user.gid}" + (f" ({show(user.name)})" if user.name else "")
        raise InvalidInput(
            f"{who} has no id here: this user namespace has {_count(maps)}; "
            "give yourself ranges in /etc/subuid and /etc/subgid, or run as root with --user 0:0"
        )
    made: dict[str, object] = {"uid": user.uid, "gid": user.gid}
    if maps.single and not maps.identity:
        # Without a range, setgroups(2) is denied for good (user_namespaces(7)).
        if settings is not None and settings.group_add:
            raise InvalidInput("--group-add: a user namespace with a single id can't have further groups")
        return made
    made["additionalGids"] = [user.gid, *(gid for gid in user.groups if gid != user.gid and maps.has_gid(gid))]
    return made


def _count(maps: IdMaps) -> str:
    return "0:0 alone" if maps.single else f"{sum(one.size for one in maps.uids)} of them"


def process_config(
    config: Mapping[str, Any],
    args: Sequence[str],
    facts: Facts,
    *,
    env: tuple[tuple[str, str | None], ...] = (),
    workdir: str | None = None,
    user: str | None = None,
    tty: bool = False,
    privileged: bool = False,
) -> dict[str, Any]:
    """A document `process.json` for `exec` in a running container whose document is `config`. Raises InvalidInput.

    `facts.root_fd` is the tree as the container sees it, with its mounts. docker's rules: the container's variables,
    user, working directory and limits unless others are asked for; --privileged gives all capabilities and takes no
    filter away.
    """
    process = config["process"]
    if not args:
        raise InvalidInput("no command: say what to run in the container")
    for word in args:
        _check_word(word)
    inherited = list(process.get("env", ()))
    spec_user = process["user"]
    who = resolve_user(facts.root_fd, f"{spec_user['uid']}")
    if user is not None:
        # HOME is the container's user's, unless somebody said it.
        inherited = [entry for entry in inherited if entry != f"HOME={who.home}"]
        who = resolve_user(facts.root_fd, user)
        spec_user = _spec_user(who, None, facts)
    held = process["capabilities"]["bounding"]
    bounding = capabilities.chosen((), (), privileged=True, here=capabilities.of_process()) if privileged else held
    made: dict[str, object] = {
        "terminal": tty,
        "user": spec_user,
        "args": list(args),
        "env": environment((), env, hostname=config["hostname"], home=who.home, tty=tty, inherited=inherited),
        "cwd": process["cwd"]
        if workdir is None
        else _inside_cwd(absolute(workdir, "working directory"), facts, {"/proc": None}),
        "capabilities": capabilities.sets(bounding, spec_user["uid"]),
        "noNewPrivileges": process.get("noNewPrivileges", False),
    }
    if "rlimits" in process:
        made["rlimits"] = process["rlimits"]
    return made
