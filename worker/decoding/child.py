"""The decoder process inside the sandbox. It has nothing that a hostile file could steal.

Run as `python -m worker.decoding.child KIND MORE FD`. KIND is the kind of sandbox. MORE is a
comma-separated list of optional formats. FD is the descriptor of the socket to the worker.

The process has no credentials (its environment is empty) and no descriptor except that socket. The
worker sends jobs over the socket: a length, JSON, and the descriptor of the file to decode. The
decoder answers with lengths, JSON, and the bytes of the thumbnails. Every module that a job needs
is imported and used once before the limits are set, because nothing can be loaded after that.
"""

import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection
from typing import Any, BinaryIO

from shared.errors import Undecodable
from shared.facts import Facts, Thumbnail
from worker.decoding import heap
from worker.decoding.formats import Box
from worker.decoding.inside.costs import BUDGET, Cost
from worker.decoding.inside.images import load_codecs, make_thumbnail
from worker.decoding.inside.pieces import MissingRange
from worker.decoding.inside.unpacking import unpack
from worker.decoding.protocol import HEADER, MAX_MEMORY_BYTES, SEEN
from worker.sandbox import privileges
from worker.sandbox.cpu_time import limit_cpu
from worker.sandbox.seccomp import seal

MAX_DESCRIPTORS = 16

Make = Callable[[BinaryIO, dict[str, Any]], Thumbnail]
"""A function that makes thumbnails. It gets the open file and the JSON of the job."""


def receive_job(channel: socket.socket) -> tuple[dict[str, Any], int] | None:
    """Wait for the next job; return it with its file descriptor, or None after the last job."""
    data, descriptors, _, _ = socket.recv_fds(channel, 65536, 1)
    if not data or not descriptors:
        return None
    length, _ = HEADER.unpack_from(data)
    while len(data) < HEADER.size + length:
        data += channel.recv(65536)
    return json.loads(data[HEADER.size :]), descriptors[0]


def run_job(make: Make, job: dict[str, Any], descriptor: int) -> tuple[dict[str, Any], bytes]:
    """Decode one file; return the answer and the bytes of all thumbnails, in their order.

    If the file has a fault, the answer is the fault's code. Any other exception ends the process.
    """
    # The worker has a timeout for the job too. This timer ends later, and it ends the process even
    # if the worker has died.
    signal.setitimer(signal.ITIMER_REAL, job["timeout_s"] + 2)
    # The worker sets the same limit (`Decoder._allow_cpu`). But if this process runs as another
    # user, the worker needs the capability CAP_SYS_RESOURCE for that. In Docker, even root lacks
    # it.
    limit_cpu(job["cpu_s"])
    try:
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            result = make(file, job)
    except MissingRange as missing:
        return {"range": [missing.start, missing.end]}, b""
    except Undecodable as error:
        return {"undecodable": error.code, **_seen(error.facts)}, b""
    except MemoryError:
        return {"undecodable": "too_expensive", **_seen(Facts(carries_more=True))}, b""
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return {
        "pictures": [
            {
                "length": len(each.body),
                "content_type": each.content_type,
                "extension": each.extension,
                "width": each.width,
                "height": each.height,
            }
            for each in result.pictures
        ],
        "reason": result.reason,
        **_seen(result.facts),
    }, b"".join(each.body for each in result.pictures)


def _seen(facts: Facts) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in SEEN}


def make_image(file: BinaryIO, job: dict[str, Any]) -> Thumbnail:
    """Make the thumbnails of an image. Raises Undecodable.

    If the job has `header_only`, the memory budget is 0, so every image is too large. The error
    then has the facts from the header. If the job has `packing`, the file is the preview of a
    document.
    """
    if (packing := job["packing"]) is not None:
        file = unpack(file, packing)
    memory_bytes = 0 if job["header_only"] else BUDGET.memory_bytes
    budget = Cost(memory_bytes=memory_bytes, cpu_s=job["cpu_s"])
    return make_thumbnail(file, budget=budget, edges=job["edges"])


def prepare(kind: Box, more: Collection[str]) -> Make:
    """Import all codecs of a kind of sandbox and use each once, so that no later job loads code."""
    if kind is Box.DOCUMENTS:
        # Imported here, so that the sandbox for images does not contain the reader of documents.
        from worker.decoding.inside import pdf

        pdf.warm_up()
        return lambda file, job: pdf.make_thumbnail(file, job["edges"])
    if kind is Box.DRAWINGS:
        from worker.decoding.inside import svg

        svg.warm_up()
        return lambda file, job: svg.make_thumbnail(file, job["edges"])
    if kind is Box.FILMS:
        from worker.decoding.inside import films

        films.warm_up()
        return films.make_thumbnail
    heap.keep_freed_memory()
    load_codecs(more)
    return make_image


def needs_threads(kind: Box, more: Collection[str]) -> bool:
    """Return True if decoders of a kind start threads.

    libheif always starts a decoding thread, and no option prevents that.
    """
    return kind is Box.IMAGES and "heic" in more


def limit_resources(*, threads: bool = False) -> None:
    """Drop root, capabilities and resources that a decoder never needs. This cannot be undone.

    Call this after `prepare`, because it changes the user, and the new user may not be able to read
    the modules. With `threads`, the process may still start threads.
    """
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: MAX_DESCRIPTORS,
    }
    if not threads:
        limits[resource.RLIMIT_NPROC] = 0
    if sys.platform == "linux":
        limits[resource.RLIMIT_AS] = MAX_MEMORY_BYTES
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))
    privileges.drop()


def main(
    descriptor: int,
    kind: Box = Box.IMAGES,
    more: Collection[str] = (),
    prepared: Make | None = None,
) -> None:
    """Serve jobs until the worker closes its end of the socket.

    The first answer is sent before any job. It says whether the seccomp filter is loaded, and how
    much memory is in use. `prepared` is the result of `prepare`, if the parent process has called
    it before it forked this process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the worker decides when this process ends
    channel = socket.socket(fileno=descriptor)
    make = prepared or prepare(kind, more)
    threads = needs_threads(kind, more)
    parent = os.getppid()
    limit_resources(threads=threads)
    if prepared is not None:
        # `limit_resources` may change the user. The kernel then clears the parent-death signal, so
        # set it again.
        privileges.end_with_parent()
        if os.getppid() != parent:
            return
    # At fork, ru_maxrss is inherited from the parent. Report it now, so that the worker can
    # calculate how much memory this process adds.
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    send(channel, {"sealed": seal(threads=threads), "held": held})
    while (received := receive_job(channel)) is not None:
        answer, body = run_job(make, *received)
        # The worker checks that this process does not compute without a job. For this, it reads the
        # CPU clock of this process after this answer and again before the next job. The kernel may
        # update the clock late, by up to 10 ms. Reading the clock here updates it now.
        time.process_time()
        send(channel, {**answer, "job": received[0]["job"]}, body)


def send(channel: socket.socket, answer: dict[str, Any], body: bytes = b"") -> None:
    """Send an answer as JSON, together with the bytes that belong to it, in one message."""
    head = json.dumps(answer).encode()
    channel.sendall(HEADER.pack(len(head), len(body)) + head + body)


if __name__ == "__main__":
    try:
        main(int(sys.argv[3]), Box(sys.argv[1]), [word for word in sys.argv[2].split(",") if word])
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)
