"""The parent of sealed decoders: it loads all codecs once, then forks a decoder at each request.

Run as `python -I -m worker.decoding.zygote KIND MORE FD`, with the arguments of `child`. Linux
only.

A fork takes a few milliseconds, a new Python process two hundred. So a decoder can be replaced
before it serves another organization. The zygote never reads an upload: it receives only the
worker's requests, over one socket. It has no credentials (its environment is empty). A decoder
keeps no descriptor that leads to the zygote.

There are two requests. FORK carries the decoder's end of a new socket pair; the answer is the new
decoder's process id, or 0 if the fork failed. END carries the process id of a decoder and kills
that decoder; the answer is its wait status and `ru_maxrss`. A decoder is reaped only at END. So the
kernel cannot reuse the process id before the worker has finished with the decoder.
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
        self._libc = ctypes.CDLL(None)  # loaded once, before the forks

    def serve(self) -> None:
        """Answer requests until the worker closes its end, then kill every decoder.

        Before the first request, sends an answer that gives the number of threads of this process.
        """
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
        """Fork a decoder; return its process id.

        Returns 0 if the fork fails, or if a library has started a thread: a lock that another
        thread holds during the fork would never be released in the child.
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
        """Serve jobs in the child until the worker closes the socket. Never returns."""
        status = 1
        try:
            # From this call on, the kernel kills this process when the zygote dies. The next line
            # checks whether the zygote has died before the call: this process then has another
            # parent.
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
        """Kill a decoder if it is alive; return its wait status and ru_maxrss, or zeros."""
        if pid not in self._children:
            return 0, 0
        self._children.remove(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        return status, usage.ru_maxrss


def threads() -> int:
    """Return the number of threads of this process."""
    return len(os.listdir("/proc/self/task"))


def main(descriptor: int, kind: Box = Box.IMAGES, more: Collection[str] = ()) -> None:
    """Load the codecs of a kind of sandbox, then fork decoders until the worker closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the worker ends this process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    control = socket.socket(fileno=descriptor)
    make = child.prepare(kind, more)
    # Each of the next two calls takes a millisecond or more. They are made here once, because the
    # decoders inherit the results.
    compile_filter(threads=child.needs_threads(kind, more))
    privileges.forbid_gain()
    # Exclude all present objects from garbage collection in the forks. Garbage collection writes to
    # objects, so the kernel would copy the pages that the forks share.
    gc.collect()
    gc.freeze()
    Zygote(control, kind, more, make).serve()


if __name__ == "__main__":
    with suppress(BrokenPipeError, ConnectionResetError):
        main(int(sys.argv[3]), Box(sys.argv[1]), [word for word in sys.argv[2].split(",") if word])
