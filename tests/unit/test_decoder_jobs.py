"""Jobs of decoders: good and bad files, and the replacement of a decoder that ends or hangs."""

import asyncio
import io
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import psutil  # type: ignore[import-untyped]  # the locks include no stubs for this package
import pytest
from PIL import Image

from shared.errors import DecoderFault, Undecodable
from tests.data import images, odd_images, previews
from tests.support.decoders import children, decode, find_decoders, find_zygotes, has_job, opened
from tests.support.service import until
from worker.decoding import pool as pool_module
from worker.decoding.decoders import Decoders
from worker.decoding.forks import Forked
from worker.decoding.formats import Box
from worker.decoding.inside.images import make_thumbnail
from worker.decoding.pool import SPARES
from worker.decoding.process import Decoder
from worker.packing import Packing

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ended_decoders")]
ZOMBIE = psutil.STATUS_ZOMBIE


async def test_it_decodes_one_file_after_the_other(decoder: Decoder) -> None:
    for edge in (100, 400, 700):
        with opened(images.photo(edge, edge)) as descriptor:
            made = await decoder.decode(descriptor, timeout_s=20)
        assert (made.facts.width, made.facts.height) == (edge, edge)
        assert made.content_type == "image/jpeg"
        assert max(Image.open(io.BytesIO(made.body)).size) == min(edge, 320)
    assert decoder.jobs == 3


async def test_the_sandbox_lets_the_fast_libraries_work(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("PNG", "WEBP", "JPEG"):
        content = images.encode(images.noise(900, 700), kind)
        with opened(content) as descriptor:
            sealed = (await decoder.decode(descriptor, timeout_s=20)).body
        assert sealed == make_thumbnail(io.BytesIO(content)).body
        with monkeypatch.context() as patch:
            patch.setattr("worker.decoding.inside.images.shrunk", lambda *_: None)
            patch.setattr("worker.decoding.inside.vips.can_shrink", lambda _: False)
            # Pillow's pixels differ a little, so the sandboxed decoder did not use Pillow.
            assert sealed != make_thumbnail(io.BytesIO(content)).body


async def test_a_bad_file_costs_it_nothing(decoder: Decoder) -> None:
    for content, code in [
        (b"", "damaged"),
        (b"no image", "damaged"),
        (images.encode(images.noise(99, 99), "PNG")[:40], "damaged"),
        (odd_images.png_of_size(40_000, 40_000), "too_expensive"),
        (odd_images.many_scans(200), "too_expensive"),
    ]:
        with opened(content) as descriptor, pytest.raises(Undecodable) as rejected:
            await decoder.decode(descriptor, timeout_s=20)
        assert rejected.value.code == code
    with opened(images.photo()) as descriptor:
        assert await decoder.decode(descriptor, timeout_s=20)


async def test_a_header_alone_is_read_where_no_more_is_asked_for(decoder: Decoder) -> None:
    with opened(images.photo(300, 200)) as descriptor:
        with pytest.raises(Undecodable, match="too_expensive") as caught:
            await decoder.decode(descriptor, timeout_s=20, header_only=True)
        assert (caught.value.facts.width, caught.value.facts.height) == (300, 200)
        assert (await decoder.decode(descriptor, timeout_s=20)).facts.width == 300


async def test_row114_previews_of_documents_are_unpacked_and_cost_no_decoder(
    decoder: Decoder,
) -> None:
    picture = previews.jpeg()
    bitmap = previews.dib()
    packed: list[tuple[bytes, Packing, str | None]] = [
        (picture, "stored", None),
        (previews.raw_deflated(picture, 900), "deflated", "too_expensive"),
        (previews.raw_deflated(picture, 3)[:-2], "deflated", "damaged"),  # truncated
        (bitmap, "dib", None),
        (images.encode(images.quadrants(), "WEBP"), "stored", "unsupported"),
        (previews.huge_png(), "stored", "too_expensive"),
    ]
    for body, packing, code in packed:
        with opened(body) as descriptor:
            if code is None:
                made = await decoder.decode(descriptor, timeout_s=20, packing=packing)
                assert images.corners(Image.open(io.BytesIO(made.body)))[3][0] > 250
            else:
                with pytest.raises(Undecodable, match=f"^{code}$"):
                    await decoder.decode(descriptor, timeout_s=20, packing=packing)
    with opened(images.photo()) as descriptor:
        assert await decoder.decode(descriptor, timeout_s=20)


async def test_one_whose_end_is_not_waited_for_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end = Forked.end

    async def end_late(child: Forked) -> tuple[int, int]:
        ended = await end(child)
        await asyncio.sleep(0.5)
        return ended

    monkeypatch.setattr(Forked, "end", end_late)
    pool = Decoders(1, timeout_s=0.5)
    await pool.warm_up()
    (child,) = children()
    child.suspend()
    job = asyncio.create_task(decode(pool, images.photo()))
    await until(lambda: asyncio.sleep(0, not child.is_running() or child.status() == ZOMBIE))
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    pool._pools[Box.IMAGES]._timeout_s = 20
    assert (await decode(pool, images.photo())).facts.width == 800
    await pool.close()


@pytest.mark.parametrize("after_s", [0, 0.001, 0.02, 0.1])
async def test_one_that_is_not_wanted_before_it_has_started_leaves_nothing(after_s: float) -> None:
    me = psutil.Process()
    before = me.num_fds()
    starting = asyncio.create_task(Decoder.start())
    await asyncio.sleep(after_s)
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await (await starting).stop()

    async def nothing_is_left() -> bool:
        return not find_decoders(os.getpid()) and me.num_fds() <= before

    await until(nothing_is_left)


async def test_kinds_of_box_share_the_places() -> None:
    decoders = Decoders(1, timeout_s=20)
    await decoders.warm_up()
    assert len(children()) == 1
    (child,) = children()
    child.suspend()
    with opened(images.photo()) as descriptor:
        jobs = [
            asyncio.create_task(decoders.decode(kind, 1, descriptor))
            for kind in (Box.IMAGES, Box.DOCUMENTS)
        ]
        # The second process is the next spare decoder.
        await until(lambda: asyncio.sleep(0, len(children()) == 2))
        # The zygote for documents starts only when the job of the document gets its turn.
        assert len(find_zygotes(os.getpid())) == 1
        child.resume()
        assert (await jobs[0]).facts.width == 800
        with pytest.raises(Undecodable):  # this job decodes an image as a document
            await jobs[1]
    assert len(find_zygotes(os.getpid())) == 2
    await decoders.close()
    assert children() == []


async def test_it_ends_when_the_worker_is_gone() -> None:
    started = await Decoder.start()
    started._channel.close()
    await asyncio.to_thread(os.waitid, os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
    assert await started.stop() == 0


async def test_one_that_hangs_is_killed_and_its_file_is_not_to_blame() -> None:
    pool = Decoders(1, timeout_s=0.5)
    await pool.warm_up()
    (child,) = children()
    child.suspend()
    with pytest.raises(DecoderFault, match="decoder_stalled"):
        await decode(pool, images.photo())
    assert not child.is_running()
    pool._pools[Box.IMAGES]._timeout_s = 20
    assert (await decode(pool, images.photo())).facts.width == 800
    await pool.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_one_that_dies_without_a_job_costs_no_file_an_attempt(
    pool: Decoders, number: signal.Signals
) -> None:
    # The first round kills the spare decoder. The second round kills the organization's decoder.
    for _ in range(2):
        found = children()
        for child in found:
            child.send_signal(number)
        await until(lambda: asyncio.sleep(0, not children()))
        assert (await decode(pool, images.photo())).facts.width == 800
        assert not {child.pid for child in found} & {child.pid for child in children()}


async def begun(pool: Decoders) -> asyncio.Task[Any]:
    """Start a job that does not end, because its decoder is suspended."""
    (child,) = children()
    child.suspend()
    job = asyncio.create_task(decode(pool, images.photo()))
    await until(lambda: asyncio.sleep(0, has_job(os.getpid())))
    return job


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_one_that_dies_at_work_is_replaced(pool: Decoders, number: signal.Signals) -> None:
    (child,) = children()
    job = await begun(pool)
    child.send_signal(number)
    child.resume()
    with pytest.raises(DecoderFault, match="decoder_died"):
        await job
    assert (await decode(pool, images.photo())).facts.width == 800
    assert not child.is_running()


async def test_one_whose_job_is_cancelled_is_replaced(pool: Decoders) -> None:
    (child,) = children()
    job = await begun(pool)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert not child.is_running()
    assert (await decode(pool, images.photo())).facts.width == 800


@pytest.mark.parametrize("content", [images.photo(9, 9), b"no image"], ids=["good", "bad"])
async def test_one_is_replaced_after_some_hundreds_of_jobs(
    pool: Decoders, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "JOBS_PER_DECODER", 2)
    (child,) = children()
    for _ in range(2):
        with suppress(Undecodable):
            await decode(pool, content)
    assert not child.is_running()
    assert (await decode(pool, images.photo(9, 9))).facts.width == 9


async def test_many_jobs_share_few_decoders() -> None:
    pool = Decoders(2, timeout_s=30)
    await pool.warm_up()
    found = await asyncio.gather(*(decode(pool, images.photo(n, 7)) for n in range(10, 40)))
    assert [made.facts.width for made in found] == list(range(10, 40))
    assert len(children()) <= 2 + SPARES
    await pool.close()
    assert children() == []


async def test_one_that_does_not_start_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    pool = Decoders(1, timeout_s=5)
    await pool.warm_up()
    with pytest.raises(DecoderFault, match="decoder_fault"):
        await decode(pool, images.photo())
    monkeypatch.undo()
    assert (await decode(pool, images.photo())).facts.width == 800
    await pool.close()
