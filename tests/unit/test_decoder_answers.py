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
from worker.decoding.protocol import HEADER, MAX_ANSWER_BYTES, SEEN, max_bytes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ended_decoders")]
JOB = "0123456789abcdef"
"""A placeholder for the job's id in an answer. `Liar` replaces it with the real id."""
BODY = b"thumbnail"
PICTURE = {
    "length": len(BODY),
    "content_type": "image/png",
    "extension": None,
    "width": 1,
    "height": 1,
}
GOOD = {"job": JOB, "pictures": [PICTURE], "width": 1, "height": 1, "carries_more": False}
EDGES = (320, 640)


def with_picture(**changes: Any) -> dict[str, Any]:
    """Return a valid answer, but with these changes in its picture."""
    return {**GOOD, "pictures": [{**PICTURE, **changes}]}


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


def framed(answer: Any, body: bytes = BODY) -> bytes:
    """Encode an answer in the format of the decoder's protocol."""
    head = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return HEADER.pack(len(head), len(body)) + head + body


@pytest.mark.parametrize(
    "answer",
    [
        HEADER.pack(MAX_ANSWER_BYTES + 1, 0),
        HEADER.pack(2**32 - 1, 2**32 - 1),
        HEADER.pack(10, max_bytes([320]) + 1),
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
        framed(with_picture(content_type="text/html")),
        framed(with_picture(content_type=["image/png"])),
        framed(with_picture(extension="html")),
        framed(with_picture(extension="../../x")),
        framed({**GOOD, "pictures": [{**PICTURE, "extension": {}}]}),
        framed({**GOOD, "pictures": None}),
        framed({**GOOD, "pictures": []}, b""),
        framed({**GOOD, "pictures": {"0": PICTURE}}),
        framed({**GOOD, "pictures": ["thumbnail"]}),
        framed({**GOOD, "pictures": [PICTURE, PICTURE]}, BODY * 2),
        framed({**GOOD, "pictures": [PICTURE]}, BODY * 2),
        framed({**GOOD, "pictures": [{}]}),
        framed(with_picture(length=0), b""),
        framed(with_picture(length=len(BODY) + 1)),
        framed(with_picture(length=-1)),
        framed(with_picture(length=True), b"t"),
        framed(with_picture(width=321)),
        framed(with_picture(height=321)),
        framed(with_picture(width=0)),
        framed(with_picture(height=None)),
        framed(with_picture(width="1")),
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


SECOND = {**PICTURE, "length": 3, "width": 640, "content_type": "image/jpeg", "extension": "jpg"}


async def test_each_thumbnail_has_its_own_bytes() -> None:
    liar = Liar(framed({**GOOD, "pictures": [PICTURE, SECOND]}, BODY + b"two"))
    with opened(b"") as descriptor:
        made = await liar.decoder.decode(descriptor, timeout_s=10, edges=EDGES)
    assert [(each.body, each.width) for each in made.pictures] == [(BODY, 1), (b"two", 640)]
    await liar.stop()


@pytest.mark.parametrize(
    ("pictures", "body"),
    [
        pytest.param([PICTURE], BODY, id="one is missing"),
        pytest.param([PICTURE, SECOND], BODY + b"t", id="the last is cut off"),
        pytest.param([PICTURE, SECOND], BODY + b"two!", id="bytes after the last"),
        pytest.param([SECOND, PICTURE], b"two" + BODY, id="in another order, so one is too wide"),
        pytest.param(
            [{**PICTURE, "length": max_bytes([320]) + 1}, {**SECOND, "length": 1}],
            b"x" * (max_bytes([320]) + 2),
            id="one has the bytes of another",
        ),
        pytest.param([PICTURE, SECOND, SECOND], BODY + b"twotwo", id="one more"),
    ],
)
async def test_thumbnails_that_do_not_fit_the_job_are_a_malformed_answer(
    pictures: list[dict[str, Any]], body: bytes
) -> None:
    liar = Liar(framed({**GOOD, "pictures": pictures}, body))
    with opened(b"") as descriptor, pytest.raises(EOFError):
        await liar.decoder.decode(descriptor, timeout_s=10, edges=EDGES)
    await liar.stop()


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
