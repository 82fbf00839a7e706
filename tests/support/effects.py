"""kill -9 before one single effect of an action: how a test tries every moment at which a process can die."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence

__all__ = ["killed_before"]

Call = Callable[..., object]


def killed_before(
    moment: int,
    action: Callable[[], object],
    effects: Sequence[str],
    *,
    prepare: Callable[[Callable[[Call], Call]], object] | None = None,
) -> bool:
    """Run an action in a child process that is killed before its `moment`-th effect; False if it had fewer.

    `effects` are names in `os`. `prepare` is called in the child with what makes any other call count as well.
    """
    child = os.fork()
    if child == 0:
        left = moment

        def counting(call: Call) -> Call:
            def wrapper(*args: object, **keywords: object) -> object:
                nonlocal left
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **keywords)

            return wrapper

        status = 1
        try:
            for name in effects:
                setattr(os, name, counting(getattr(os, name)))
            if prepare is not None:
                prepare(counting)
            action()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False
