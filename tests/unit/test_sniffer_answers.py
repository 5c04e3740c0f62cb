"""The worker does not trust a sniffing process's answers: an attacker may control the process."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.errors import DecoderFault
from tests.data.documents import DOCUMENTS
from tests.data.writing import HEAD
from worker.sniffing.process import Child, Server
from worker.sniffing.protocol import (
    HEADER,
    MAX_ANSWER_BYTES,
    MAX_ASKED_BYTES,
    MAX_EXTENTS,
    MAX_PIECES,
    MAX_PREVIEW_BYTES,
)
from worker.sniffing.sniffer import Sniffers

pytestmark = pytest.mark.slow
TEXT = b"plain words\n"


def framed(answer: Any) -> bytes:
    """Encode an answer in the format of the sniffing process's protocol."""
    head = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return HEADER.pack(len(head), 0) + head


BAD_PREVIEWS: list[Any] = [
    [],
    {},
    "stored",
    {"extents": [], "packing": "stored"},
    {"extents": [[0, 1]], "packing": "none"},
    {"extents": [[0, 1]], "packing": None},
    *(
        {"extents": extents, "packing": "stored"}
        for extents in (
            [[0, 0]],
            [[5, 4]],
            [[-1, 4]],
            [[0, 10**7 + 1]],
            [[0, MAX_PREVIEW_BYTES + 1]],
            [[0, MAX_PREVIEW_BYTES], [0, 1]],
            [[0, 1]] * (MAX_EXTENTS + 1),
            [[False, True]],
            [["0", "1"]],
            [[0, 1.5]],
            [[0]],
            [0, 1],
            None,
        )
    ),
]
"""Positions of a preview that no honest process reports, for a file of 10 ** 7 bytes."""

NO_PROCESS = 2**22
"""An id that no process has: on Linux, all process ids are smaller than this limit."""


@asynccontextmanager
async def with_liar(answer: Any) -> AsyncIterator[Sniffers]:
    """Replace organization 1's child process with a fake one, as if an attacker controlled it.

    If `answer` is bytes, the fake sends them for each request. If `answer` is an object, the fake
    adds the id of the request and sends the object.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    sniffers = Sniffers(timeout_s=20)
    sniffers._idle[1] = Child(NO_PROCESS, ours, cast(Server, SimpleNamespace(lives=False)))
    sniffers._children = 1

    async def lie() -> None:
        reader, writer = await asyncio.open_connection(sock=theirs)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head_bytes, body_bytes = HEADER.unpack(await reader.readexactly(HEADER.size))
                job = json.loads(await reader.readexactly(head_bytes))["job"]
                await reader.readexactly(body_bytes)
                writer.write(framed({"job": job, **answer}) if isinstance(answer, dict) else answer)
                await writer.drain()
        writer.close()

    lying = asyncio.create_task(lie())
    yield sniffers
    await lying


@pytest.mark.parametrize(
    "answer",
    [
        HEADER.pack(MAX_ANSWER_BYTES + 1, 0),
        HEADER.pack(2**32 - 1, 2**32 - 1),
        HEADER.pack(10, 1),
        framed(b"no JSON"),
        framed(b"\xff\xfe"),
        framed(b"[" * MAX_ANSWER_BYTES),
        framed(b""),
        framed(None),
        framed({}),
        framed({"name": "image/png"}),
        framed({"name": "image/png", "job": "0" * 16}),
        {},
        framed([]),
        *(
            {"name": name}
            for name in (
                "",
                "text",
                "text/",
                "text/html\n",
                "text/html\r\nX: y",
                "a/b; c=d",
                5,
                "text/html; charset=\n",
                "text/ht ml",
                "té/xt",
                "a" * 200 + "/b",
                None,
            )
        ),
        {"range": [0, 0]},
        {"range": [-1, 5]},
        {"range": [5, 4]},
        {"range": [0, 10**7 + 1]},
        {"range": [0, MAX_ASKED_BYTES + 1]},
        {"range": ["0", "1"]},
        {"range": [False, True]},
        {"range": [0, 1.5]},
        {"range": [1]},
        {"range": [0, 1, 2]},
        {"range": None},
        {"range": {}},
        *({"name": "text/plain", "preview": preview} for preview in BAD_PREVIEWS),
        {"fault": "\x1b[2J"},
        {"fault": "a" * 1000},
        {"fault": {}},
    ],
    ids=lambda answer: repr(answer)[:60],
)
async def test_an_answer_that_makes_no_sense_is_the_childs_end(answer: Any) -> None:
    async def read(start: int, end: int) -> bytes:
        raise AssertionError("no range is read that was not checked")

    async with with_liar(answer) as sniffers:
        with pytest.raises(DecoderFault, match="decoder_died"):
            await sniffers.identify(1, TEXT, 10**7, read)
        assert not sniffers._idle
        assert sniffers._children == 0


async def test_only_so_many_ranges_are_read() -> None:
    seen: list[tuple[int, int]] = []

    async def read(start: int, end: int) -> bytes:
        seen.append((start, end))
        return b"x"

    async with with_liar({"range": [0, 1]}) as sniffers:
        with pytest.raises(DecoderFault, match="decoder_died"):
            await sniffers.identify(1, TEXT, 10**7, read)
    assert len(seen) == MAX_PIECES - 1


async def test_an_error_of_reading_is_raised_and_ends_no_child(sniffers: Sniffers) -> None:
    content = DOCUMENTS["docx-far"][0]()

    async def read(start: int, end: int) -> bytes:
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await sniffers.identify(1, content[:HEAD], len(content), read)
    assert len(sniffers._idle) == 1
