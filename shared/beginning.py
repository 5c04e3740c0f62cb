"""The first moment of a process, before anything else is imported: SIGTERM and SIGINT end it.

It imports little, so that it takes effect early. Nothing has been begun by then, so there is
nothing to finish: status 0, as of a process that has served for years.
"""

import os
import signal
from typing import Any

_FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


def leave_when_told() -> None:
    """End at SIGTERM and SIGINT with status 0 until the process has handlers of its own.

    As process 1 of a container, be an init first: the kernel drops signals to a process 1 that has
    no handler, and gives it the orphans of all others to wait for.
    """
    if os.getpid() == 1:
        _be_init()
    _leave_at_signals()


def _leave_at_signals() -> None:
    signal.signal(signal.SIGTERM, _leave)
    # Not where a shell has it ignored, as for what it starts in the background.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def _leave(*_: Any) -> None:
    os._exit(0)


def _be_init() -> None:
    """Go on in a child; here, hand signals on, wait for every orphan, and end as the child does."""
    numbers = {getattr(signal, name) for name in _FORWARDED}
    # Blocked until the handlers stand: the child must get what arrives meanwhile.
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
