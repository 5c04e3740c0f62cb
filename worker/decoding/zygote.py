"""The parent of sealed decoders: it loads all codecs once, then forks a decoder on request.

Run as `python -I -m worker.decoding.zygote KIND MORE FD`, as `child` is; Linux only.

A fork costs a few milliseconds where a new Python costs two hundred, so a decoder can be replaced
before it serves another organization. The zygote itself never sees an upload: all that reaches it
are the worker's requests, over one socket. It has no credentials (its environment is empty), and a
decoder keeps no descriptor by which it could reach it.

Requests are a command and a number. FORK comes with the decoder's end of its own socket; the answer
is the process id, 0 if there was no fork. END kills the decoder of that id; the answer is its
status and `ru_maxrss`. A decoder is waited for only then, so its id stays its own until the worker
has done with it.
"""

import ctypes
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Collection
from contextlib import suppress
from typing import Final, NoReturn

from worker.decoding import child
from worker.decoding.formats import Box
from worker.decoding.protocol import ANSWER, END, FORK, REQUEST
from worker.sandbox import privileges
from worker.sandbox.seccomp import compile_filter

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_MAX_DESCRIPTOR: Final = 1024


class Zygote:
    """This process, and the decoders that it has forked."""

    def __init__(
        self, control: socket.socket, kind: Box, more: Collection[str], make: child.Make
    ) -> None:
        self._control = control
        self._kind = kind
        self._more = more
        self._make = make
        self._children: set[int] = set()
        self._pid = os.getpid()
        self._libc = ctypes.CDLL(None)  # loaded before the fork

    def serve(self) -> None:
        """Answer requests until the worker closes its end; then kill every decoder."""
        self._answer(threads())
        try:
            while True:
                data, descriptors, _, _ = socket.recv_fds(self._control, REQUEST.size, 1)
                if not data:
                    return
                command, pid = REQUEST.unpack(data)
                if command == FORK:
                    self._answer(self._fork(descriptors[0]))
                elif command == END:
                    self._answer(pid, *self._end(pid))
        finally:
            for pid in tuple(self._children):
                self._end(pid)

    def _answer(self, pid: int, status: int = 0, peak: int = 0) -> None:
        self._control.send(ANSWER.pack(pid, status, peak))

    def _fork(self, descriptor: int) -> int:
        """Fork a decoder; 0 if it cannot be done, or if a library has started a thread.

        A lock that another thread holds at the fork is never released in the child.
        """
        try:
            if threads() != 1:
                return 0
            pid = os.fork()
        except OSError:
            return 0
        else:
            if pid == 0:
                self._become_decoder(descriptor)
            self._children.add(pid)
            return pid
        finally:
            os.close(descriptor)

    def _become_decoder(self, descriptor: int) -> NoReturn:
        """Serve jobs in the child until the worker closes the channel; never returns."""
        status = 1
        try:
            # Kill this process once the zygote has died, however that was.
            self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() == self._pid:
                self._libc.prctl(_PR_SET_NAME, b"decoder", 0, 0, 0)
                os.setsid()
                os.closerange(3, descriptor)
                os.closerange(descriptor + 1, _MAX_DESCRIPTOR)
                child.main(descriptor, self._kind, self._more, self._make)
            status = 0
        except (BrokenPipeError, ConnectionResetError):
            status = 0
        finally:
            os._exit(status)

    def _end(self, pid: int) -> tuple[int, int]:
        """Kill a decoder, if it still lives, and give its wait status and ru_maxrss."""
        if pid not in self._children:
            return 0, 0
        self._children.remove(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        return status, usage.ru_maxrss


def threads() -> int:
    """Count the threads of this process."""
    return len(os.listdir("/proc/self/task"))


def main(descriptor: int, kind: Box = Box.IMAGES, more: Collection[str] = ()) -> None:
    """Load every codec of a kind of box, then fork decoders; the first answer counts threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker decides when we end
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    control = socket.socket(fileno=descriptor)
    make = child.prepare(kind, more)
    # Done once here and inherited, since both take a millisecond or more.
    compile_filter(threads="heic" in more)
    privileges.forbid_gain()
    # Leave what is loaded out of every later collection: looking at it would copy its pages.
    gc.collect()
    gc.freeze()
    Zygote(control, kind, more, make).serve()


if __name__ == "__main__":
    with suppress(BrokenPipeError, ConnectionResetError):
        main(int(sys.argv[3]), Box(sys.argv[1]), [word for word in sys.argv[2].split(",") if word])
