"""A file whose styles are too expensive together still gets its `thumb`."""

import sys
from pathlib import Path

import pytest

from shared.errors import Undecodable
from tests.data import images, odd_images
from tests.support.decoders import counted_kill, decode, python_with_changed_child
from worker.decoding.decoders import Decoders

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ended_decoders")]

EDGES = (320, 1024)
PHOTO = images.encode(images.quadrants(2000, 1500), "PNG")


async def sizes(monkeypatch: pytest.MonkeyPatch, folder: Path, change: str) -> list[int]:
    """Return the widths of a photo's thumbnails, made by decoders whose code has a `change`."""
    monkeypatch.setattr(sys, "executable", python_with_changed_child(folder, change))
    pool = Decoders(1, timeout_s=2, edges=EDGES)
    await pool.warm_up()
    made = await decode(pool, PHOTO)
    await pool.close()
    return [each.width for each in made.pictures]


async def test_styles_that_are_cheap_enough_are_all_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The image takes 12 MB, and its larger style 12.6 MB.
    change = "child.BUDGET = child.Cost(memory_bytes=26_000_000, cpu_s=5)"
    assert await sizes(monkeypatch, tmp_path, change) == [320, 1024]


async def test_styles_over_the_budget_leave_thumb(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change = "child.BUDGET = child.Cost(memory_bytes=20_000_000, cpu_s=5)"
    assert await sizes(monkeypatch, tmp_path, change) == [320]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_styles_that_take_too_long_leave_thumb(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spin = (
        "real = child.make_image; child.make_image = lambda file, job:"
        " sum(0 for _ in iter(int, 1)) if len(job['edges']) > 1 else real(file, job)"
    )
    with counted_kill("cpu_time"):
        assert await sizes(monkeypatch, tmp_path, spin) == [320]


async def test_a_file_that_is_too_expensive_even_for_thumb_has_no_thumbnail() -> None:
    pool = Decoders(1, timeout_s=20, edges=EDGES)
    with pytest.raises(Undecodable, match="too_expensive") as caught:
        await decode(pool, odd_images.png_of_size(40_000, 40_000))
    assert (caught.value.facts.width, caught.value.facts.height) == (40_000, 40_000)
    await pool.close()
