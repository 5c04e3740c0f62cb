"""The worker does not trust a decoder's answers, because an attacker may control the decoder."""

import json
import os
import socket
import subprocess
import threading
from typing import Any

import pytest

from shared.errors import DecoderFault, Undecodable
from shared.facts import Facts
from tests.support.decoders import decode, opened
from worker.decoding.children import Spawned
from worker.decoding.decoders import Decoders
from worker.decoding.formats import Box
from worker.decoding.process import Decoder
from worker.decoding.protocol import HEADER, MAX_ANSWER_BYTES, MAX_THUMBNAIL_BYTES, SEEN

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ended_decoders")]
JOB = "0123456789abcdef"
"""A placeholder for the job's id in an answer. `Liar` replaces it with the real id."""
GOOD = {
    "job": JOB,
    "content_type": "image/png",
    "extension": None,
    "width": 1,
    "height": 1,
    "carries_more": False,
}


class Liar:
    """A fake decoder that behaves as if an attacker controlled it.

    It answers its first job with the given bytes.
    """

    def __init__(self, answer: bytes) -> None:
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.process = subprocess.Popen(["sleep", "60"])
        self.decoder = Decoder(Spawned(self.process), ours)
        self._thread = threading.Thread(target=self._answer, args=(answer,))
        self._thread.start()

    def _answer(self, answer: bytes) -> None:
        data, descriptors, _, _ = socket.recv_fds(self.theirs, 65536, 1)
        for descriptor in descriptors:
            os.close(descriptor)
        name = json.loads(data[HEADER.size :])["job"]
        self.theirs.sendall(answer.replace(JOB.encode(), name.encode()))

    async def stop(self) -> None:
        """Stop the fake decoder and its process."""
        self._thread.join()
        self.theirs.close()
        await self.decoder.stop()


def framed(answer: Any, body: bytes = b"thumbnail") -> bytes:
    """Encode an answer in the format of the decoder's protocol."""
    head = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return HEADER.pack(len(head), len(body)) + head + body


@pytest.mark.parametrize(
    "answer",
    [
        HEADER.pack(MAX_ANSWER_BYTES + 1, 0),
        HEADER.pack(2**32 - 1, 2**32 - 1),
        HEADER.pack(10, MAX_THUMBNAIL_BYTES + 1),
        framed(b"no JSON"),
        framed(b"\xff\xfe"),
        framed(b"[" * MAX_ANSWER_BYTES),
        framed(b""),
        framed([GOOD]),
        framed(None),
        framed({}),
        framed({**GOOD, "job": "f" * len(JOB)}),
        framed({**GOOD, "job": None}),
        framed(GOOD, b""),
        framed({**GOOD, "content_type": "text/html"}),
        framed({**GOOD, "content_type": ["image/png"]}),
        framed({**GOOD, "extension": "html"}),
        framed({**GOOD, "extension": "../../x"}),
        framed({**GOOD, "width": 0}),
        framed({**GOOD, "height": -1}),
        framed({**GOOD, "width": 2**31}),
        framed({**GOOD, "width": "1"}),
        framed({**GOOD, "width": None}),
        framed({**GOOD, "height": 1.5}),
        framed({**GOOD, "width": True}),
        framed({**GOOD, "pages": 1}),
        *(framed({**GOOD, "duration": wrong}) for wrong in (0.0, -1.5, 2e7, 3, True, "1.5")),
        framed({**GOOD, "width": None, "height": None}),
        framed({**GOOD, "width": None, "height": None, "pages": 0}),
        framed({**GOOD, "reason": "too_large"}),
        framed({"job": JOB, "undecodable": "damaged", "width": -1, "height": 1}),
        framed({"job": JOB, "undecodable": "damaged", "width": 1, "height": None}),
        framed({**GOOD, "width": None, "height": None, "pages": "1"}),
        framed({**GOOD, "carries_more": None}),
        framed({"job": JOB, "undecodable": "damaged", "pages": 0}),
        framed({"job": JOB, "undecodable": "damaged", "width": 1, "height": 1, "pages": 1}),
        framed({"job": JOB, "undecodable": "damaged", "carries_more": 0}),
    ],
    ids=lambda answer: repr(answer[HEADER.size :][:40]),
)
async def test_an_answer_that_makes_no_sense_is_the_decoders_end(answer: bytes) -> None:
    liar = Liar(answer)
    pool = Decoders(1, timeout_s=10)
    pool._pools[Box.IMAGES]._spares.append(liar.decoder)
    with pytest.raises(DecoderFault, match="decoder_died"):
        await decode(pool, b"")
    assert liar.process.returncode is not None
    await liar.stop()
    await pool.close()


@pytest.mark.parametrize(
    "code", ["no such reason", "", 5, ["damaged"], "too_large", {"a": 1}, "missing\n"]
)
async def test_a_reason_that_does_not_exist_is_no_reason(code: Any) -> None:
    liar = Liar(framed({"job": JOB, "undecodable": code}))
    with opened(b"") as descriptor, pytest.raises(Undecodable, match=r"^damaged$"):
        await liar.decoder.decode(descriptor, timeout_s=10)
    await liar.stop()


@pytest.mark.parametrize("name", ["width", "height", "pages", "carries_more"])
async def test_each_fact_of_a_file_without_thumbnail_arrives(name: str) -> None:
    known = {"pages": 7} if name == "pages" else {"width": 3, "height": 2}
    sent = {**dict.fromkeys(SEEN), "carries_more": False, **known}
    liar = Liar(framed({"job": JOB, "undecodable": "unsupported", **sent}))
    with opened(b"") as descriptor, pytest.raises(Undecodable, match=r"^unsupported$") as caught:
        await liar.decoder.decode(descriptor, timeout_s=10)
    assert getattr(caught.value.facts, name) == sent[name]
    await liar.stop()


async def test_a_file_may_carry_more_unless_an_answer_denies_it() -> None:
    liar = Liar(framed({"job": JOB, "undecodable": "damaged"}))
    with opened(b"") as descriptor, pytest.raises(Undecodable) as caught:
        await liar.decoder.decode(descriptor, timeout_s=10)
    assert caught.value.facts == Facts(carries_more=True)
    await liar.stop()
