"""The box in which files are identified: a fork server, and its children that see the files.

Run as `python -I -m worker.sniffing.child FD`. The server loads libmagic once and never reads a
file. For each organization the worker has it fork a child, which gives up root, system calls and
resources before its first file. A fork costs 3 ms of CPU time, a new Python over 40 ms.
"""

import codecs
import gc
import json
import os
import resource
import signal
import socket
import sys
import time
from typing import Any, Final

from worker.sandbox import privileges, seccomp
from worker.sandbox.cpu_time import limit_cpu
from worker.sniffing import identify
from worker.sniffing.protocol import ANSWER, COMMAND, FORK, HEADER, MAX_PIECES

CODECS: Final = (
    "ascii", "latin-1", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "utf-32",
    "utf-32-be", "utf-32-le",
)  # fmt: skip
"""What the sniffers decode with; Python imports each at its first use."""

MAX_MEMORY_BYTES: Final = 512 * 1024**2
MAX_DESCRIPTORS: Final = 8


def answer(size: int, pieces: list[bytes]) -> dict[str, Any]:
    """Name the type of a file of which these pieces were seen, or the range to be seen next.

    The pieces are the head and each range that was asked for, in that order. Nothing is kept from
    one call to the next, so another file may come while a range is fetched.
    """
    asking = identify.identify(pieces[0], size)
    try:
        wanted = next(asking)
        for piece in pieces[1:]:
            wanted = asking.send(piece)
    except StopIteration as named:
        return {"name": named.value}
    except Exception as error:  # a bug: its place is told, and the child goes on
        return {"fault": f"{type(error).__name__} in {_place(error)}"}
    return {"range": wanted}


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"


def _serve_files(channel: socket.socket) -> None:
    """Give up everything, then identify files until the worker closes its end."""
    for kind, value in {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: MAX_DESCRIPTORS,
        resource.RLIMIT_NPROC: 0,
        **({resource.RLIMIT_AS: MAX_MEMORY_BYTES} if sys.platform == "linux" else {}),
    }.items():
        resource.setrlimit(kind, (value, value))
    privileges.drop()
    privileges.end_with_parent()
    _send(channel, {"sealed": seccomp.seal()})
    while True:
        head_bytes, body_bytes = HEADER.unpack(_receive(channel, HEADER.size))
        job = json.loads(_receive(channel, head_bytes))
        body, pieces, at = _receive(channel, body_bytes), [], 0
        for length in job["lengths"]:
            pieces.append(body[at : at + length])
            at += length
        limit_cpu(job["cpu_s"])
        found = answer(job["size"], pieces)
        # The worker compares this process's CPU clock before the next job with that after this
        # answer. The kernel may count a running process at ticks only (up to 10 ms): reading the
        # clock has it count now.
        time.process_time()
        _send(channel, {**found, "job": job["job"]})


def _send(channel: socket.socket, words: dict[str, Any]) -> None:
    head = json.dumps(words).encode()
    channel.sendall(HEADER.pack(len(head), 0) + head)


def _receive(channel: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        chunk = channel.recv(min(count - len(received), 1024**2))
        if not chunk:
            raise EOFError
        received += chunk
    return bytes(received)


def _warm_up() -> None:
    """Load and use once what identifies files: nothing can be opened after a fork."""
    for codec in CODECS:
        codecs.lookup(codec)
    for sample in (b"%PDF-1.7\n1 0 obj", b"a,b\n1,2\n", b"\xe9t\xe9\n", b"PK\3\4", bytes(99)):
        found = answer(len(sample), [sample, *[b""] * (MAX_PIECES - 1)])
        assert "name" in found, found


def main(descriptor: int) -> None:
    """Fork and end children as the worker commands, until it closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker decides when we end
    control = socket.socket(fileno=descriptor)
    _warm_up()
    seccomp.compile_filter()
    privileges.forbid_gain()
    gc.collect()
    gc.freeze()  # else the first collection of each child copies all that is shared
    children: set[int] = set()
    control.sendall(ANSWER.pack(0))
    while True:
        command, descriptors, _, _ = socket.recv_fds(control, COMMAND.size, 1)
        if len(command) < COMMAND.size:
            break
        letter, child = COMMAND.unpack(command)
        if letter == FORK:
            children -= {one for one in children if os.waitpid(one, os.WNOHANG)[0]}
            child = _fork(control, descriptors[0])
            children.add(child)
            control.sendall(ANSWER.pack(child))
        else:
            control.sendall(ANSWER.pack(_end(child) if child in children else 0))
            children.discard(child)
    for child in children:
        _end(child)


def _fork(control: socket.socket, descriptor: int) -> int:
    """Fork a child that serves the socket of this descriptor; gives its id."""
    if child := os.fork():
        os.close(descriptor)
        return child
    status = 1
    try:
        control.close()
        _serve_files(socket.socket(fileno=descriptor))
    except (EOFError, ConnectionError):
        status = 0  # the worker has closed its end
    finally:
        os._exit(status)  # without what Python does at its end: that is the server's


def _end(child: int) -> int:
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)
