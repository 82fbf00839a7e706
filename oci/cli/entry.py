"""The console script: everything between the shell and the app.

Start-up time is a feature: `ocikit --version` imports nothing but this module, and a command its own module only; typer
comes in where quick.py can't read the line. The rule for what comes out: exit status 0 done, 1 failed, 2 wrong usage,
130 interrupted, and as a shell counts signals 143 for SIGTERM, 141 for a reader of our output that went away; at most
one `error: …` line on stderr; never a traceback unless `--debug` or OCIKIT_DEBUG=1.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType
    from typing import Any, TextIO

INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `ocikit` with these arguments (default: the process's own); returns the exit status."""
    whole_process = arguments is None
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        _open_what_is_closed()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        from oci import __version__

        return _answer(f"ocikit {__version__}")
    # A command makes millions of short-lived values and no cycles to speak of: looking for cycles every 700 values
    # took 7 % of the time of an unpack (measured).
    thresholds = gc.get_threshold()
    gc.set_threshold(100_000, *thresholds[1:])
    terminated: list[int] = []
    previous = _interrupt_on_sigterm(terminated)
    try:
        status = _run(arguments, terminated)
        status = TERMINATED if terminated and status == INTERRUPTED else status
    finally:
        if not whole_process:
            gc.set_threshold(*thresholds)
        if previous is not None:
            previous()
    if whole_process:
        _leave(status)
    return status


def _leave(status: int) -> None:
    """End the process without taking the interpreter apart, value by value: that takes 3 ms, and nobody sees it.

    Whoever asked to be told at the end is told; where a thread may still be at work, the interpreter shall end as ever.
    """
    _flush_or_forget(sys.stderr)
    threads = sys.modules.get("threading")
    if sys.flags.inspect or (threads is not None and threads.active_count() > 1):
        return
    import atexit

    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError):
        return
    os._exit(status)


def _open_what_is_closed() -> None:
    """Started with a standard stream closed (`>&-`): else the next file that is opened would be taken for it."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, fd)
            if null != fd:
                os.close(null)
            setattr(sys, name, open(fd, "w" if fd else "r", closefd=False))


def _answer(text: str) -> int:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _forget_stdout()
        return BROKEN_PIPE
    except OSError as error:
        return _failed(error, debug=False)
    return 0


def _run(arguments: list[str], terminated: list[int]) -> int:
    # A name from an image, or a path of this machine, may hold what the terminal's encoding can't say.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        from oci.cli import quick

        # The shell that asks for completions has it in this variable what the line is.
        line = None if "_OCIKIT_COMPLETE" in os.environ else quick.read(arguments)
        if line is not None:
            status = line.run()
        else:
            from oci.cli.app import run

            status = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        status = INTERRUPTED
    except SystemExit as exit_:  # from --install-completion and its like, which typer ends by itself
        if isinstance(exit_.__context__, BrokenPipeError):  # typer met it first
            _forget_stdout()
            return BROKEN_PIPE
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except Exception as error:  # noqa: BLE001 - the one place where any failure becomes a status and a line
        return _failed(error, debug=_wants_traceback(arguments))
    if status == INTERRUPTED:
        from oci.cli.failures import say

        say("terminated" if terminated else "interrupted")
    return status


def _failed(error: Exception, *, debug: bool) -> int:
    from oci.cli.failures import report

    status = report(error, debug=debug)
    _flush_or_forget(sys.stdout)  # if that is what failed, a full disk for one, it is told
    return status


def _wants_traceback(arguments: list[str]) -> bool:
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--debug" in own or os.environ.get("OCIKIT_DEBUG", "") not in ("", "0")


def _interrupt_on_sigterm(terminated: list[int]) -> Any:
    """Make SIGTERM unwind like Ctrl-C, so that temporary files go; noted in the list.

    Gives what puts the previous handler back, None off the main thread.
    """
    try:  # `signal` makes enumerations of what is in here, which takes a tenth of a short command's time
        import _signal as signal  # type: ignore[import-not-found]
    except ImportError:
        import signal

    def interrupt(number: int, frame: FrameType | None) -> None:
        terminated.append(number)
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:
        return None
    return lambda: signal.signal(signal.SIGTERM, before)


def _forget_stdout() -> None:
    """Whoever read our output is gone: keep the interpreter's last flush from complaining about it."""
    _forget(sys.stdout)


def _flush_or_forget(stream: TextIO) -> None:
    """What can't be written any more changes no exit status: the interpreter would make it 120."""
    try:
        stream.flush()
    except (OSError, ValueError):
        _forget(stream)


def _forget(stream: TextIO) -> None:
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError):
        pass  # no real file: nobody flushes it at exit
