"""Handle SIGTERM and SIGINT from the start of a process, before other imports.

This module imports little, so that it takes effect early. No work has begun by then, so there is
nothing to finish, and the exit status is 0, as for a process that ends normally.
"""

import os
import signal
from typing import Any

_FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


def end_on_signal() -> None:
    """Exit with status 0 at SIGTERM and SIGINT, until the process sets its own handlers.

    If this is process 1 of a container, it becomes an init first: the kernel drops signals to a
    process 1 without handlers, and makes process 1 the parent of all orphans, which it must reap.
    """
    if os.getpid() == 1:
        _be_init()
    _leave_at_signals()


def _leave_at_signals() -> None:
    signal.signal(signal.SIGTERM, _leave)
    # SIGINT stays ignored if it was: a shell ignores SIGINT for processes that it starts in the
    # background.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def _leave(*_: Any) -> None:
    os._exit(0)


def _be_init() -> None:
    """Fork and return in the child; the parent forwards signals to it and waits for every orphan.

    The parent exits with the child's status.
    """
    numbers = {getattr(signal, name) for name in _FORWARDED}
    # The signals are blocked until the handlers are set, so that signals that arrive meanwhile
    # reach the child.
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    child = os.fork()
    if child == 0:
        _leave_at_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        return

    def hand_on(number: int, _frame: Any) -> None:
        try:
            os.kill(child, number)
        except ProcessLookupError:
            return

    for number in numbers:
        signal.signal(number, hand_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
