"""The decoder's side of the box: a process with nothing to lose, run as `python -m worker.box FD`.

It holds no credentials (its environment is empty) and no descriptors but one socket. Over that
come jobs: a length, JSON, and the descriptor of the bytes to decode; back go a length, JSON, and
the thumbnail's bytes. Everything that it needs is imported and has run once before the limits.
"""

import io
import json
import os
import resource
import signal
import socket
import struct
import sys
from typing import Any

from PIL import Image

from shared.errors import Rejected
from worker.thumbnails import make_thumbnail

HEADER = struct.Struct("!II")
"""Lengths of the JSON and of the bytes behind it."""

MAX_MEMORY_BYTES = 1024**3
MAX_DESCRIPTORS = 16


def receive_job(channel: socket.socket) -> tuple[dict[str, Any], int] | None:
    """Wait for the next job and its descriptor; None when the worker has gone."""
    data, descriptors, _, _ = socket.recv_fds(channel, 65536, 1)
    if not data or not descriptors:
        return None
    length, _ = HEADER.unpack_from(data)
    while len(data) < HEADER.size + length:
        data += channel.recv(65536)
    return json.loads(data[HEADER.size :]), descriptors[0]


def run_job(job: dict[str, Any], descriptor: int) -> tuple[dict[str, Any], bytes]:
    """Decode one file; what is wrong with it comes back as a code, never as an exception."""
    # A second clock behind the parent's: should that be gone, this still ends.
    signal.setitimer(signal.ITIMER_REAL, job["timeout_s"] + 2)
    try:
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            result = make_thumbnail(file, max_pixels=job["max_pixels"])
    except Rejected as rejected:
        return {"rejected": rejected.code}, b""
    except MemoryError:
        return {"rejected": "decoder_memory"}, b""
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return {
        "content_type": result.content_type,
        "extension": result.extension,
        "width": result.width,
        "height": result.height,
        "carries_more": result.carries_more,
    }, result.body


def warm_up() -> None:
    """Import and use every codec once, so that nothing is opened or loaded later."""
    for kind in ("JPEG", "PNG", "GIF", "WEBP"):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, kind)
        file.seek(0)
        make_thumbnail(file, max_pixels=64)


def limit_resources() -> None:
    """Take away what a decoder never needs; from here on nothing can be given back."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: MAX_DESCRIPTORS,
    }
    if sys.platform == "linux":
        limits[resource.RLIMIT_AS] = MAX_MEMORY_BYTES
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))


def main(descriptor: int) -> None:
    """Serve jobs until the worker closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker decides when we end
    channel = socket.socket(fileno=descriptor)
    warm_up()
    limit_resources()
    channel.sendall(HEADER.pack(0, 0))
    while (received := receive_job(channel)) is not None:
        answer, body = run_job(*received)
        head = json.dumps(answer).encode()
        channel.sendall(HEADER.pack(len(head), len(body)) + head + body)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)
