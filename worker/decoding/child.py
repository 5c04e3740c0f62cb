"""The decoder's side of the box: a process with nothing to lose.

Run as `python -m worker.decoding.child KIND MORE FD`, where MORE lists further formats,
comma-separated.

It holds no credentials (its environment is empty) and no descriptors but one socket. Over that
come jobs: a length, JSON, and the descriptor of the bytes to decode; back go a length, JSON, and
the thumbnail's bytes. Everything that it needs is imported and has run once before the limits.
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
from worker.decoding.formats import Box
from worker.decoding.inside.costs import BUDGET, Cost
from worker.decoding.inside.images import load_codecs, make_thumbnail
from worker.decoding.protocol import HEADER, MAX_MEMORY_BYTES, SEEN
from worker.sandbox import privileges
from worker.sandbox.cpu_time import limit_cpu
from worker.sandbox.seccomp import seal

MAX_DESCRIPTORS = 16

Make = Callable[[BinaryIO, dict[str, Any]], Thumbnail]
"""Makes a thumbnail of a file by what a job says."""


def receive_job(channel: socket.socket) -> tuple[dict[str, Any], int] | None:
    """Wait for the next job and its descriptor; None when the worker has gone."""
    data, descriptors, _, _ = socket.recv_fds(channel, 65536, 1)
    if not data or not descriptors:
        return None
    length, _ = HEADER.unpack_from(data)
    while len(data) < HEADER.size + length:
        data += channel.recv(65536)
    return json.loads(data[HEADER.size :]), descriptors[0]


def run_job(make: Make, job: dict[str, Any], descriptor: int) -> tuple[dict[str, Any], bytes]:
    """Decode one file; what is wrong with it comes back as a code, never as an exception."""
    # A second clock behind the parent's: should that be gone, this still ends.
    signal.setitimer(signal.ITIMER_REAL, job["timeout_s"] + 2)
    # `Decoder._allow_cpu` does the same, but may not where this process runs as another user and
    # the worker has no CAP_SYS_RESOURCE, as root in Docker.
    limit_cpu(job["cpu_s"])
    try:
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            result = make(file, job)
    except Undecodable as error:
        return {"undecodable": error.code, **_seen(error.facts)}, b""
    except MemoryError:
        return {"undecodable": "too_expensive", **_seen(Facts(carries_more=True))}, b""
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return {
        "content_type": result.content_type,
        "extension": result.extension,
        "reason": result.reason,
        **_seen(result.facts),
    }, result.body


def _seen(facts: Facts) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in SEEN}


def make_image(file: BinaryIO, job: dict[str, Any]) -> Thumbnail:
    """Make a thumbnail of an image. Raises Undecodable, always if only the header is read."""
    memory_bytes = 0 if job["header_only"] else BUDGET.memory_bytes
    budget = Cost(memory_bytes=memory_bytes, cpu_s=job["cpu_s"])
    return make_thumbnail(file, budget=budget)


def prepare(kind: Box, more: Collection[str]) -> Make:
    """Import and use every codec of a kind of box once, so that nothing is loaded later."""
    if kind is Box.DOCUMENTS:
        # Here only: a box for images is not to hold what reads documents.
        from worker.decoding.inside import pdf

        pdf.warm_up()
        return lambda file, _: pdf.make_thumbnail(file)
    load_codecs(more)
    return make_image


def limit_resources(*, threads: bool = False) -> None:
    """Take away what a decoder never needs: root, capabilities and resources. It is final.

    Call it after `prepare`: another user may not be able to read what is imported.
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
    """Serve jobs until the worker closes its end; the first answer tells how it stands.

    A fork of a process that has called `prepare` already gives its result as `prepared`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker decides when we end
    channel = socket.socket(fileno=descriptor)
    make = prepared or prepare(kind, more)
    threads = "heic" in more  # libheif decodes in one of its own, whatever it is asked for
    parent = os.getppid()
    limit_resources(threads=threads)
    if prepared is not None:
        # `limit_resources` may change the user, and the kernel then forgets the tie to the zygote.
        privileges.end_with_parent()
        if os.getppid() != parent:
            return
    # What the system says that it held at the most is more than it ever held: that of the process
    # that started it counts as well. So growth is told from here on.
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    send(channel, {"sealed": seal(threads=threads), "held": held})
    while (received := receive_job(channel)) is not None:
        answer, body = run_job(make, *received)
        # The worker compares this process's CPU clock before the next job with that after this
        # answer. The kernel may count a running process at ticks only (up to 10 ms): reading the
        # clock has it count now.
        time.process_time()
        send(channel, {**answer, "job": received[0]["job"]}, body)


def send(channel: socket.socket, answer: dict[str, Any], body: bytes = b"") -> None:
    """Send an answer and the bytes that go with it."""
    head = json.dumps(answer).encode()
    channel.sendall(HEADER.pack(len(head), len(body)) + head + body)


if __name__ == "__main__":
    try:
        main(int(sys.argv[3]), Box(sys.argv[1]), [word for word in sys.argv[2].split(",") if word])
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)
