"""Handle SIGTERM and SIGINT from the start of a process, before its other imports.

This module imports little, so its handlers are set early. Until the process sets its own handlers,
no work has begun. So a signal ends the process at once. The exit status is 0, as after a normal
end.

Garbage collection is paused during the imports. Modules do not become garbage, and searching them
again and again would take a quarter of the imports' time.
"""

import gc
import os
import signal
from typing import Any

_FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


def end_on_signal() -> None:
    """Make SIGTERM and SIGINT exit with status 0, until the process sets its own handlers.

    Process 1 of a container first forks and becomes an init, for two reasons. The kernel drops
    signals to a process 1 without handlers. And process 1 becomes the parent of all orphans, so it
    must reap them.
    """
    if os.getpid() == 1:
        _be_init()
    _leave_at_signals()


def pause_collection() -> None:
    """Collect no garbage until `resume_collection`. Call this before the imports."""
    gc.disable()


def resume_collection() -> None:
    """Collect garbage from now on, but exclude all objects that exist now. May be repeated.

    Call this after the imports. The modules live as long as the process, so no later collection
    searches them, not even the one at the end of the process.
    """
    gc.freeze()
    gc.enable()


def _leave_at_signals() -> None:
    signal.signal(signal.SIGTERM, _leave)
    # A shell starts background processes with SIGINT ignored. If SIGINT is ignored now, it stays
    # ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def _leave(*_: Any) -> None:
    os._exit(0)


def _be_init() -> None:
    """Fork and return in the child. The parent forwards signals and reaps orphans, as an init does.

    The parent exits with the child's status.
    """
    numbers = {getattr(signal, name) for name in _FORWARDED}
    # The signals are blocked until the handlers are set, so that signals that arrive during the
    # fork still reach the child.
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
