"""What runc and crun say when something fails → one line of ours, with the exit status that docker gives.

127: the program isn't there; 126: it is there but can't be run; 125: anything else. Both runtimes write their words for
people, in their log; those of runc 1.1 and crun 1.8 were collected case by case (tests/runtime/test_failures.py). What
is in no row here is passed on as the runtime said it.
"""

from __future__ import annotations

from oci.errors import RuntimeFailed, show
from oci.lazily import json, re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    _Row = tuple[str, Callable[[re.Match[str]], str], int]

__all__ = ["GONE", "NOT_RUNNING", "failure", "message_of"]

MAX_LOG = 1 << 16  # bytes of a runtime's log that are read: its last lines

GONE = r"does not exist|no such container|error opening file `[^`]*/status`: No such file"
NOT_RUNNING = (
    r"container not running|not running|process already finished|kill container: No such process|is not running"
    r"|cannot (?:exec|pause|update|kill).*stopped"
)

# What stands before the words that matter.
_NOISE = (
    r"(?:(?:runc|crun)(?: \w+)? failed: |container_linux\.go:\d+: [^:]*: |process_linux\.go:\d+: [^:]*: "
    r"|standard_init_linux\.go:\d+: |rootfs_linux\.go:\d+: |unable to start container process: "
    r"|error during container init: |exec failed: |error executing setns process: )+"
)


def _program(words: str) -> Callable[[re.Match[str]], str]:
    return lambda found: f"{show(found[1])}: {words}"


_ROWS: tuple[_Row, ...] = (
    # runc
    (r'exec: "(.*)": executable file not found in \$PATH', _program("no such program in the container's PATH"), 127),
    (r'exec: "(.*)": stat .*: no such file or directory', _program("no such file in the container"), 127),
    (r'exec: "(.*)": .*is a directory', _program("a directory, not a program"), 126),
    (r'exec: "(.*)": permission denied', _program("can't be run: not an executable file, or not for this user"), 126),
    (r'exec: "(.*)": (?:stat .*: )?(.*)', lambda found: f"{show(found[1])}: can't be run: {found[2]}", 126),
    (r"exec (.*): exec format error", _program("can't be run: not a program for this machine"), 126),
    (r"exec (.*): no such file or directory", _program("can't be run: its interpreter is not in the container"), 127),
    (r"exec (/.*): (.*)", lambda found: f"{show(found[1])}: can't be run: {found[2]}", 126),
    (
        r'chdir to cwd \("(.*)"\) set in config.json failed: permission denied',
        lambda found: _cwd(found[1], "the user may not enter it"),
        126,
    ),
    (r'chdir to cwd \("(.*)"\) set in config.json failed: (.*)', lambda found: _cwd(found[1], found[2]), 125),
    (r"mkdir (.*): (not a directory|.*exists)", lambda found: _cwd(found[1], "not a directory"), 125),
    (r"current working directory is outside of container", lambda _: "the working directory leads out of it", 125),
    (r'error mounting "(.*)" to rootfs at "(.*?)": (.*)', lambda found: _mount(found[1], found[2], found[3]), 125),
    (r"error setting rlimit.*: operation not permitted", lambda _: "a ulimit is above what this process has", 125),
    (r"unable to apply caps: .*", lambda _: "this process can't give the capabilities that were asked for", 125),
    (r".*unable to set memory limit to (\d+).*", lambda found: f"--memory {found[1]}: too little to start in", 125),
    (r"sethostname: (.*)", lambda found: f"the host name was refused: {found[1]}", 125),
    (r".*seccomp.* not supported|.*[Ss]eccomp.*(?:disabled|not compiled).*", lambda _: _SECCOMP, 125),
    (r".*error writing config to pipe.*", lambda _: "the container ended meanwhile", 125),
    (r"invalid rootfs: (.*)", lambda found: f"the container's root can't be used: {found[1]}", 125),
    (r"fork/exec /proc/self/exe: (.*)", lambda found: f"no namespaces can be made here: {found[1]}", 125),
    # crun
    (r"executable file `(.*)` not found in \$PATH.*", lambda found: _absent(found[1]), 127),
    (r"open executable: No such file or directory", lambda _: "the program is not in the container", 127),
    (r"open executable: Operation not permitted", lambda _: "the program is a directory", 126),
    (r"open executable: (.*)", lambda found: f"the program can't be run: {found[1].lower()}", 126),
    (
        r"exec container process .*`(.*)`: Exec format error",
        _program("can't be run: not a program for this machine"),
        126,
    ),
    (r"exec container process .*`(.*)`: No such file.*", _program("can't be run: its interpreter is not there"), 127),
    (
        r"exec container process .*`(.*)`: (.*)",
        lambda found: f"{show(found[1])}: can't be run: {found[2].lower()}",
        126,
    ),
    (r"chdir `(.*)`: Permission denied", lambda found: _cwd(found[1], "the user may not enter it"), 126),
    (r"chdir `(.*)`: (.*)", lambda found: _cwd(found[1], found[2].lower()), 125),
    (
        r"mount `(.*)` to `(.*)`: (.*)",
        lambda found: _mount(found[1], f"/{found[2].lstrip('/')}", found[3].lower()),
        125,
    ),
    (r"error stat'ing file `(.*)`: (.*)", lambda found: f"{show(found[1])}: can't be mounted: {found[2].lower()}", 125),
    (r"setrlimit `RLIMIT_(.*)`: .*", lambda found: f"--ulimit {found[1].lower()}: above what this process has", 125),
    (r"setrlimit \(RLIM_MEMLOCK\).*", lambda _: "rules for devices need CAP_SYS_RESOURCE, which isn't here", 125),
    (r"capset: .*", lambda _: "this process can't give the capabilities that were asked for", 125),
    (r"(?:.*: )?cgroups in hybrid mode not supported.*", lambda _: _HYBRID, 125),
)

_SECCOMP = "this runtime was built without seccomp; use another, or --security-opt seccomp=unconfined"
_HYBRID = "crun can't work with this machine's mixture of cgroup versions; install runc"


def _absent(program: str) -> str:
    where = "no such file in the container" if "/" in program else "no such program in the container's PATH"
    return f"{show(program)}: {where}"


def _cwd(path: str, reason: str) -> str:
    return f"working directory {show(path)}: {reason}"


def _mount(source: str, target: str, reason: str) -> str:
    last = reason.rpartition(": ")[2]
    hint = "; one is a directory, the other a file" if last == "not a directory" else ""
    if "cannot be mounted because" in reason:
        last = "nothing can be mounted there"
    return f"{show(source)} can't be mounted at {show(target)}: {show(last)}{hint}"


def message_of(log: bytes) -> str:
    """The last error in a runtime's log, "" where there is none. Lines that aren't JSON are words as they stand."""
    last = ""
    for line in log[-MAX_LOG:].decode("utf-8", "replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            last = line.strip() or last
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal", "panic"):
            last = str(entry.get("msg", "")).strip() or last
    return last


def failure(runtime: str, verb: str, message: str) -> RuntimeFailed:
    """The error for what a runtime said."""
    words = re.sub(_NOISE, "", message, count=1) if re.match(_NOISE, message) else message
    for pattern, made, status in _ROWS:  # compiled here and not before: most runs of a runtime don't fail
        found = re.fullmatch(pattern, words, re.DOTALL)
        if found is not None:
            return RuntimeFailed(made(found), status=status)
    return RuntimeFailed(f"{runtime} {verb}: {show(words) if words else 'failed without a word'}")
