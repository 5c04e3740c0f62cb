"""The sandbox that finds types of files: its answers, and the start and end of its processes."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress

import psutil  # type: ignore[import-untyped]  # the locks include no stubs for this package
import pytest
import structlog

from shared.errors import DecoderFault
from tests.data import images, odd_images
from tests.data.documents import DOCUMENTS
from tests.support.identifying import measure
from tests.support.service import until
from tests.support.sniffers import identify, server_process, sniffing_children, wait_for_end
from worker.sniffing import child, sniffer
from worker.sniffing.identify import sniff
from worker.sniffing.process import Server
from worker.sniffing.signatures import image_type
from worker.sniffing.sniffer import Sniffers

pytestmark = pytest.mark.slow
TEXT = b"plain words\n"


# --- answers of the sandbox -----------------------------------------------------------------------


async def test_a_file_has_the_same_type_inside_and_outside_the_sandbox(sniffers: Sniffers) -> None:
    asked_of = 0
    for name, (make, _, _) in DOCUMENTS.items():
        content = make()
        found, asked = measure(content)
        assert await identify(sniffers, content) == found, name
        asked_of += bool(asked)
    # Several files must need further ranges, so that the test covers requests for ranges.
    assert asked_of > 5
    for content in (b"", b"\0", b"\xe9t\xe9\n", images.HTML, images.SVG):
        assert await identify(sniffers, content) == measure(content)[0]
    assert len(sniffing_children()) == 1


@pytest.mark.parametrize(
    "content",
    [
        *(images.encode(images.quadrants(), name) for name in ("JPEG", "PNG", "GIF", "WEBP")),
        images.photo(),
        images.gif_with_script(),
        images.png_with_zip(),
        images.png_with_html(),
        odd_images.png_of_size(30_000, 30_000),
        odd_images.many_scans(20),
        images.encode(images.quadrants(), "WEBP", lossless=True),
    ],
)
def test_a_signature_names_an_image_as_libmagic_does(content: bytes) -> None:
    assert image_type(content) == sniff(content) == measure(content)[0]
    # For a truncated image, `image_type` may return None although libmagic finds a type.
    for end in (4, 12, 16, 20, 40):
        assert image_type(content[:end]) in (None, sniff(content[:end]))


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "jpeg"])
def test_no_other_file_has_the_signature_of_an_image(name: str) -> None:
    content = DOCUMENTS[name][0]()
    found = image_type(content)
    assert found is None or found == measure(content)[0]


async def test_an_image_is_identified_without_a_sandbox() -> None:
    started = Sniffers(timeout_s=20)
    assert await identify(started, images.photo()) == "image/jpeg"
    assert server_process() is None


def test_a_worker_does_not_load_libmagic_where_its_credentials_are() -> None:
    code = (
        "import sys, worker.app, worker.queue.start;"
        " print([n for n in sys.modules if 'magic' in n])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_a_bug_of_ours_is_logged_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.sniffing.identify.mime_type", lambda _: 1 / 0)
    answer = child.answer(4, [b"word"])
    assert answer["fault"].startswith("ZeroDivisionError in test_sniffer.py:")
    with structlog.testing.capture_logs() as logged, pytest.raises(DecoderFault, match="_fault"):
        sniffer.check_answer(answer, 4, [b"word"])
    assert [entry["fault"] for entry in logged] == [answer["fault"]]


# --- child processes of the sandbox ---------------------------------------------------------------


async def test_a_child_sees_the_files_of_one_organization(sniffers: Sniffers) -> None:
    seen = {}
    for organization_id in (1, 2, 1, 2):
        before = set(sniffing_children())
        await identify(sniffers, TEXT, organization_id)
        started = set(sniffing_children()) - before
        if started:
            assert organization_id not in seen
            (seen[organization_id],) = started
    assert sorted(seen) == [1, 2]
    assert set(sniffing_children()) == set(seen.values())


async def test_only_so_many_organizations_have_one(
    sniffers: Sniffers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sniffer, "PLACES", 2)
    await identify(sniffers, TEXT, 1)
    (first,) = sniffing_children()
    await identify(sniffers, TEXT, 2)
    await identify(sniffers, TEXT, 1)
    # The child process for organization 3 replaces the one for organization 2, which has been idle
    # longest.
    await identify(sniffers, TEXT, 3)
    assert len(sniffing_children()) == 2
    assert first in sniffing_children()
    assert sorted(sniffers._idle) == [1, 3]


async def test_many_files_of_many_organizations_at_once(sniffers: Sniffers) -> None:
    contents = [make() for make, _, _ in DOCUMENTS.values()]
    jobs = [(content, number % 40) for number, content in enumerate(contents)]
    found = await asyncio.gather(*(identify(sniffers, *job) for job in jobs))
    assert found == [measure(content)[0] for content, _ in jobs]
    assert 1 < len(sniffing_children()) <= sniffer.PLACES


async def test_one_is_replaced_after_some_thousands_of_files(
    sniffers: Sniffers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sniffer, "FILES_PER_CHILD", 2)
    await identify(sniffers, TEXT)
    (first,) = sniffing_children()
    await identify(sniffers, TEXT)
    assert sniffing_children() == []
    await identify(sniffers, TEXT)
    assert sniffing_children() != [first]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_one_that_dies_of_a_file_is_replaced(
    sniffers: Sniffers, number: signal.Signals
) -> None:
    await identify(sniffers, TEXT)
    (pid,) = sniffing_children()
    os.kill(pid, signal.SIGSTOP)
    job = asyncio.create_task(identify(sniffers, TEXT))
    # Organization 2 does not wait for the suspended process of organization 1.
    other = await identify(sniffers, TEXT, 2)
    assert other.startswith("text/plain")
    os.kill(pid, number)
    os.kill(pid, signal.SIGCONT)
    with (
        structlog.testing.capture_logs() as logged,
        pytest.raises(DecoderFault, match="decoder_died"),
    ):
        await job
    assert [(entry["event"], entry["status"]) for entry in logged] == [("sniffer died", -number)]
    assert await identify(sniffers, TEXT) == other
    assert pid not in sniffing_children()


async def test_one_that_takes_too_long_is_killed(sniffers: Sniffers) -> None:
    await identify(sniffers, TEXT)
    (pid,) = sniffing_children()
    os.kill(pid, signal.SIGSTOP)
    sniffers._timeout_s = 0.3
    with pytest.raises(DecoderFault, match="decoder_stalled"):
        await identify(sniffers, TEXT)
    assert sniffing_children() == []
    sniffers._timeout_s = 20
    assert (await identify(sniffers, TEXT)).startswith("text/plain")


async def test_one_whose_file_is_given_up_answers_no_other_file(sniffers: Sniffers) -> None:
    await identify(sniffers, TEXT)
    (pid,) = sniffing_children()
    os.kill(pid, signal.SIGSTOP)
    job = asyncio.create_task(identify(sniffers, b"<html>"))
    await until(lambda: asyncio.sleep(0, not sniffers._idle))
    await asyncio.sleep(0)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert sniffing_children() == []
    assert (await identify(sniffers, TEXT)).startswith("text/plain")


async def test_a_server_that_dies_is_replaced_and_leaves_no_child(sniffers: Sniffers) -> None:
    await identify(sniffers, TEXT)
    (pid,) = sniffing_children()
    server = server_process()
    assert server is not None
    server.kill()
    await asyncio.to_thread(server.wait, 10)
    if sys.platform == "linux":
        await wait_for_end(pid)
    # These two attempts may fail, because the fork server has ended. Then a new fork server starts.
    for organization_id in (1, 2):
        with suppress(DecoderFault):
            await identify(sniffers, TEXT, organization_id)
    for organization_id in (1, 2):
        assert (await identify(sniffers, TEXT, organization_id)).startswith("text/plain")


async def test_nothing_is_left_when_the_worker_is_gone() -> None:
    started = Sniffers(timeout_s=20)
    await identify(started, TEXT)
    server = server_process()
    (pid,) = sniffing_children()
    os.kill(pid, signal.SIGSTOP)
    assert server is not None
    assert started._server is not None
    started._server._control.close()
    assert await asyncio.to_thread(started._server._process.wait, 10) == 0
    await wait_for_end(pid)
    started._idle[1].channel.close()


async def test_one_that_does_not_start_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    started = Sniffers(timeout_s=20)
    with structlog.testing.capture_logs() as logged:
        await started.warm_up()
    assert [entry["event"] for entry in logged] == ["sniffers do not start"]
    with pytest.raises(DecoderFault, match="decoder_fault"):
        await identify(started, TEXT)
    monkeypatch.undo()
    assert (await identify(started, TEXT)).startswith("text/plain")
    await started.close()


@pytest.mark.parametrize("after_s", [0, 0.001, 0.02, 0.1])
async def test_one_that_is_not_wanted_before_it_has_started_leaves_nothing(after_s: float) -> None:
    me = psutil.Process()
    before = me.num_fds()
    starting = asyncio.create_task(Server.start())
    await asyncio.sleep(after_s)
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await (await starting).stop()

    async def nothing_is_left() -> bool:
        return server_process() is None and me.num_fds() <= before

    await until(nothing_is_left)
