"""The cost of an image is computed from its header.

The decoder accepts large simple images and refuses decompression bombs.
"""

import io

import pytest
from PIL import Image

from tests.data.images import encode, quadrants
from worker.decoding.inside.codecs import Findings, open_image
from worker.decoding.inside.costs import BUDGET, of_image, of_jpeg, of_webp
from worker.decoding.inside.jpeg import Header


def jpeg(megapixels: float, *, scans: int = 1, samples: float = 3.0, side: int = 0) -> Header:
    """Describe a JPEG by its header. A JPEG with more than one scan is progressive."""
    width = side or round((megapixels * 1e6) ** 0.5)
    return Header(
        width=width,
        height=width,
        components=3,
        samples=samples,
        progressive=scans > 1,
        single_scan=scans == 1,
        scans=list(range(scans)),
    )


@pytest.mark.parametrize(
    ("header", "scale", "passes"),
    [
        pytest.param(jpeg(200), 8, True, id="baseline-200"),
        pytest.param(jpeg(24, samples=1.5), 8, True, id="photo-24"),
        pytest.param(jpeg(108, scans=10), 8, True, id="progressive-108"),
        pytest.param(jpeg(108, scans=53, samples=1.5), 8, True, id="progressive-108-of-53-scans"),
        pytest.param(jpeg(400, scans=10), 8, False, id="progressive-400"),
        pytest.param(jpeg(108, scans=100, samples=3), 8, False, id="progressive-108-of-100-scans"),
        pytest.param(jpeg(0, side=65_500), 8, False, id="baseline-4290"),
    ],
)
def test_a_jpeg_is_judged_by_coding_and_scans(header: Header, scale: int, passes: bool) -> None:
    assert of_jpeg(header, 10_000_000, scale).exceeds(BUDGET) is not passes


@pytest.mark.parametrize(
    ("mode", "kind", "megapixels", "passes"),
    [
        ("1", "PNG", 61, True),
        ("1", "TIFF", 61, True),
        ("1", "PNG", 900, False),
        ("L", "PNG", 200, True),
        ("RGB", "PNG", 100, True),
        ("RGB", "PNG", 300, False),
        ("RGBA", "PNG", 50, True),
        ("RGBA", "PNG", 200, False),
        ("P", "GIF", 60, True),
        ("P", "GIF", 400, False),
    ],
)
def test_other_images_are_judged_by_their_bits_and_planes(
    mode: str, kind: str, megapixels: int, passes: bool
) -> None:
    image = Image.new(mode, (1000, 1000))
    image.format = kind
    # `_size` is private in Pillow. It sets the size without allocating the pixels.
    image._size = (1000, megapixels * 1000)
    assert of_image(image).exceeds(BUDGET) is not passes


def test_an_interlaced_png_and_a_transparent_one_cost_more() -> None:
    image = Image.new("RGB", (1000, 1000))
    image.format = "PNG"
    plain = of_image(image)
    image.info["interlace"] = 1
    assert of_image(image).cpu_s > plain.cpu_s
    image.info["transparency"] = (0, 0, 0)
    assert of_image(image).memory_bytes > plain.memory_bytes


def test_a_webp_is_judged_before_its_reader_needs_the_memory() -> None:
    assert not of_webp(6000, 4000).exceeds(BUDGET)
    assert of_webp(16_383, 16_383).exceeds(BUDGET)


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"mode": "L"}, {"progressive": True}])
def test_the_fields_of_a_jpeg_are_read_from_its_header(options: dict[str, object]) -> None:
    drawn = quadrants(64, 48).convert(str(options.get("mode", "RGB")))
    given = {name: value for name, value in options.items() if name != "mode"}
    findings = Findings()
    open_image(io.BytesIO(encode(drawn, "JPEG", **given)), findings, BUDGET)
    header = findings.jpeg_header
    assert header is not None
    assert (
        (header.width, header.height) == (64, 48) == (findings.facts.width, findings.facts.height)
    )
    assert header.progressive is ("progressive" in options)
    assert header.single_scan is not header.progressive
    assert len(header.scans) == (1 if header.single_scan else 10)
    wanted = 1.0 if drawn.mode == "L" else 3.0 if "subsampling" in options else 1.5
    assert header.samples == wanted
