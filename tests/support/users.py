"""Running a function as an ordinary user, in a child process, from tests that run as root."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

NOBODY = 65534


def as_user(function: Callable[..., T], *args: object, uid: int = NOBODY, gid: int = NOBODY, **named: object) -> T:
    """Call `function` in a forked child without privileges; return what it returns, raise what it raises.

    Results and errors must pickle; an error of a class with a peculiar constructor comes back with its text alone.
    """

    def call() -> T:
        become_user(uid, gid)
        return function(*args, **named)

    return in_child(call)


def become_user(uid: int, gid: int) -> None:
    """Give up root for good in this process."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    os.environ["HOME"] = "/nonexistent"


def in_child(function: Callable[[], T]) -> T:
    """Call `function` in a forked child, to which alone happens whatever it does to its process; as `as_user` says."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            answer: tuple[str, object]
            try:
                answer = ("result", function())
            except Exception as error:  # noqa: BLE001 - raised again by the parent
                kind = type(error)
                answer = ("error", (kind.__module__, kind.__qualname__, str(error), traceback.format_exc()))
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(answer, pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            raw = pipe.read()
    except BaseException:
        os.kill(child, signal.SIGINT)  # the tests were interrupted: it clears away what it made, before others do
        raise
    finally:
        os.waitpid(child, 0)
    if not raw:
        raise RuntimeError("the child died without an answer")
    what, value = pickle.loads(raw)
    if what == "result":
        return value  # type: ignore[no-any-return]
    module, name, text, trace = value
    kind = getattr(importlib.import_module(module), name)
    raised: Exception = kind.__new__(kind)
    raised.args = (text,)
    raised.add_note(trace)
    raise raised
