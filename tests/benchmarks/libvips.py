"""CPU time of the service's thumbnails, compared with libvips on the same files, one thread each.

Both programs make upright thumbnails of 320 pixels without metadata, in the same format and in
similar quality. Each runs in a separate process, on bytes in memory, without a sandbox.
"""

import importlib
import io
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from statistics import median
from typing import Any, Final

from rich.table import Table

from shared.errors import Undecodable
from tests.benchmarks.photos import picture
from tests.benchmarks.report import at_most, make_table
from tests.benchmarks.site import Site
from worker.decoding.inside.images import load_codecs, make_thumbnail

ROUNDS = 5
ROUND_PIXELS: Final = 60_000_000
"""The approximate number of pixels that are decoded in one round. It is so large that a round takes
at least a tenth of a second."""

SIZES: Final = ((1632, 1224), (4160, 3120), (8064, 6048))
MAX_PIXELS: Final = 50_000_000
AIM = 1.05

FORMATS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "JPEG": ("JPEG", {"quality": 89}),
    "progressive JPEG": ("JPEG", {"quality": 89, "progressive": True}),
    "PNG": ("PNG", {"compress_level": 6}),
    "WebP": ("WEBP", {"quality": 85, "method": 2}),
    "GIF": ("GIF", {}),
    # Scanners and image editors write TIFF files with these options.
    "TIFF, LZW": ("TIFF", {"compression": "tiff_lzw", "tiffinfo": {317: 2}}),
}
WRITTEN: Final = {
    "image/jpeg": (".jpg", {"Q": 82}),
    "image/png": (".png", {}),
    "image/webp": (".webp", {"Q": 80, "effort": 4}),
}
"""The options of libvips for each type of the service's thumbnails."""


async def run(site: Site) -> Table:
    """Measure both programs alternately, so that a busy machine slows both equally."""
    table = make_table(
        "libvips: CPU of one thumbnail, in memory, one thread",
        ["file", "ours", "libvips", "ratio", "aim"],
    )
    if find_spec("pyvips") is None:
        table.add_row("pyvips is not installed: make bench installs it")
        return table
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(
            1, mp_context=context, initializer=load_codecs, initargs=(("tiff",),)
        ) as ours,
        ProcessPoolExecutor(1, mp_context=context, initializer=_one_thread) as theirs,
    ):
        for title, content, pixels in _files(SIZES[:2] if site.quick else SIZES):
            times = max(1, ROUND_PIXELS // pixels)
            try:
                content_type = ours.submit(our_type, content).result()
            except Undecodable as rejected:
                table.add_row(title, rejected.code)
                continue
            rounds: list[tuple[float, float]] = []
            for number in range(1 + (2 if site.quick else ROUNDS)):
                pair = (
                    ours.submit(our_cpu_ms, content, times).result(),
                    theirs.submit(their_cpu_ms, content, content_type, times).result(),
                )
                if number:  # the first round only warms up
                    rounds.append(pair)
            ratio = median(our / their for our, their in rounds)
            table.add_row(
                title,
                f"{median(our for our, _ in rounds):.1f} ms",
                f"{median(their for _, their in rounds):.1f} ms",
                *at_most(ratio, AIM),
            )
    return table


def _files(sizes: Iterable[tuple[int, int]]) -> Iterator[tuple[str, bytes, int]]:
    """Draw all files. Yield each one's title, bytes and number of pixels."""
    pictures = [picture(*size) for size in sizes]
    for title, (kind, options) in FORMATS.items():
        for image in pictures:
            file = io.BytesIO()
            image.save(file, kind, **options)
            pixels = image.width * image.height
            yield f"{title}, {pixels / 1e6:.0f} MP", file.getvalue(), pixels


def our_type(content: bytes) -> str:
    """Return the content type of the service's thumbnail."""
    return make_thumbnail(io.BytesIO(content)).content_type


def our_cpu_ms(content: bytes, times: int) -> float:
    """Make the service's thumbnail several times. Return the CPU ms of one thumbnail."""
    return _cpu_ms(lambda: make_thumbnail(io.BytesIO(content)), times)


def their_cpu_ms(content: bytes, content_type: str, times: int) -> float:
    """Make the thumbnail with libvips several times. Return the CPU ms of one thumbnail."""
    # pyvips has no type hints, and is installed only in the environment of this benchmark.
    vips: Any = importlib.import_module("pyvips")
    suffix, options = WRITTEN[content_type]

    def make() -> bytes:
        image = vips.Image.thumbnail_buffer(content, 320, height=320, size="down")
        return bytes(image.write_to_buffer(suffix, keep="none", **options))

    return _cpu_ms(make, times)


def _one_thread() -> None:
    os.environ["VIPS_CONCURRENCY"] = "1"
    # Otherwise libvips would take the second and all later results from its cache.
    importlib.import_module("pyvips").cache_set_max(0)


def _cpu_ms(make: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        make()
    return 1000 * (time.process_time() - began) / times
