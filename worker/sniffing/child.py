"""The sandbox that identifies files: a fork server, and its children, which read the files.

Run as `python -I -m worker.sniffing.child FD`. The server loads libmagic once and never reads a
file. At each request it forks a child for an organization. The child drops root, system calls and
resources before its first file. A fork takes 3 ms of CPU time, a new Python process over 40 ms.
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
from dataclasses import asdict
from typing import Any, Final

from worker.sandbox import privileges, seccomp
from worker.sandbox.cpu_time import limit_cpu
from worker.sniffing import identify
from worker.sniffing.protocol import ANSWER, COMMAND, FORK, HEADER, MAX_PIECES, Identified

CODECS: Final = (
    "ascii",
    "latin-1",
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-be",
    "utf-16-le",
    "utf-32",
    "utf-32-be",
    "utf-32-le",
)
"""Codecs that identification uses. Python imports each codec at its first use, which would fail in
a sealed child."""

MAX_MEMORY_BYTES: Final = 512 * 1024**2
MAX_DESCRIPTORS: Final = 8


def answer(size: int, pieces: list[bytes]) -> dict[str, Any]:
    """Return the type of a file as `name`, the `range` that is needed next, or a `fault`.

    A document may also have a `preview`. `pieces` are the head and all ranges that were requested
    so far, in that order. No state is kept between calls, so the child can serve another file while
    a range is fetched.
    """
    asking = identify.identify_document(pieces[0], size)
    try:
        wanted = next(asking)
        for piece in pieces[1:]:
            wanted = asking.send(piece)
    except StopIteration as ended:
        identified: Identified = ended.value
        preview = identified.preview
        return {"name": identified.name} | ({} if preview is None else {"preview": asdict(preview)})
    except Exception as error:  # a bug: report where, and continue
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
    """Drop all privileges and resources, then identify files until the worker closes its end."""
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
        # The worker reads this process's CPU clock after this answer and again before the next job,
        # to see whether this process computes without a job. The kernel may update the clock only
        # at ticks (up to 10 ms). Reading it here forces the update now.
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
    """Load and use all code that identifies files, because a child cannot open any file."""
    for codec in CODECS:
        codecs.lookup(codec)
    for sample in (b"%PDF-1.7\n1 0 obj", b"a,b\n1,2\n", b"\xe9t\xe9\n", b"PK\3\4", bytes(99)):
        found = answer(len(sample), [sample, *[b""] * (MAX_PIECES - 1)])
        assert "name" in found, found


def main(descriptor: int) -> None:
    """Fork and end children as the worker commands, until the worker closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the worker decides when this process ends
    control = socket.socket(fileno=descriptor)
    _warm_up()
    seccomp.compile_filter()
    privileges.forbid_gain()
    gc.collect()
    gc.freeze()  # otherwise the first garbage collection in each child copies all shared pages
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
    """Fork a child that serves the socket of this descriptor; return its process id."""
    if child := os.fork():
        os.close(descriptor)
        return child
    status = 1
    try:
        control.close()
        _serve_files(socket.socket(fileno=descriptor))
    except (EOFError, ConnectionError):
        status = 0  # EOFError and the like mean that the worker has closed its end
    finally:
        os._exit(status)  # not sys.exit, which would run exit handlers that belong to the server


def _end(child: int) -> int:
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)
