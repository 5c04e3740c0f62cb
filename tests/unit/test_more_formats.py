"""TIFF, AVIF and HEIF images are decoded only if a setting enables them; thumbnails are upright and
keep alpha.
"""

import struct
import subprocess
import sys

import pytest
from PIL import Image

from shared.errors import Undecodable
from tests.data import images, seeds
from tests.support.thumbnails import MORE_FORMATS, are_close, make_and_open, raises_code
from worker.decoding.inside.images import load_codecs

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("more_formats")
@pytest.mark.parametrize("orientation", range(1, 9), ids="row79-{}".format)
@pytest.mark.parametrize("kind", MORE_FORMATS)
def test_more_formats_are_upright_too(kind: str, orientation: int) -> None:
    content = images.oriented(orientation, kind, width=600, height=400)
    if kind != "TIFF":  # AVIF and HEIF store the orientation in `irot` and `imir`
        boxes = {1: (), 3: (b"irot",), 6: (b"irot",), 8: (b"irot",), 5: (b"irot", b"imir")}
        assert all(box in content for box in boxes.get(orientation, (b"imir",)))
    made, image = make_and_open(content)
    assert (made.content_type, made.extension) == ("image/jpeg", "jpg")
    assert (made.facts.width, made.facts.height) == (600, 400)
    assert image.size == (320, 213)
    assert are_close(images.corners(image), images.MODES["jpeg-rgb"][1])


@pytest.mark.usefixtures("more_formats")
@pytest.mark.parametrize("kind", MORE_FORMATS)
def test_more_formats_keep_their_alpha_as_png(kind: str) -> None:
    image = images.quadrants().convert("RGBA")
    opaque, _ = make_and_open(images.encode(image.resize((600, 400)), kind))
    assert (opaque.content_type, opaque.extension) == ("image/jpeg", "jpg")
    image.paste(images.CLEAR, (60, 40, 120, 80))
    made, shown = make_and_open(images.encode(image, kind))
    assert (made.content_type, made.extension) == ("image/png", "png")
    assert are_close(images.corners(shown), images.MODES["png-rgba"][1])


@pytest.mark.usefixtures("more_formats")
def test_a_box_shorter_than_its_head_is_broken_and_not_cut() -> None:
    whole = seeds.seed("avif")
    at = whole.index(b"meta") - 4
    with raises_code("damaged"):
        make_and_open(whole[:at] + struct.pack("!I", 7) + whole[at + 4 :])


@pytest.mark.parametrize("kind", MORE_FORMATS)
def test_more_formats_are_not_decoded_unless_asked_for(kind: str) -> None:
    load_codecs({"tiff", "avif", "heic"})
    load_codecs()
    with pytest.raises(Undecodable, match="damaged"):
        make_and_open(images.encode(images.quadrants(), kind))


def test_more_decoders_are_not_even_loaded_unless_asked_for() -> None:
    script = """
import sys
from worker.decoding.inside.images import load_codecs
load_codecs()
print(sorted({"PIL._avif", "_pillow_heif", "pypdfium2"} & set(sys.modules)))
load_codecs({"avif", "heic"})
print(sorted({"PIL._avif", "_pillow_heif", "pypdfium2"} & set(sys.modules)))
"""
    sent = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert sent.stdout.splitlines() == ["[]", "['PIL._avif', '_pillow_heif']"]


@pytest.mark.usefixtures("more_formats")
@pytest.mark.parametrize(
    "compression", [None, "packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg"]
)
def test_tiff_is_read_as_scanners_write_it(compression: str | None) -> None:
    second = Image.new("RGB", (120, 80), images.BLUE)
    made, image = make_and_open(
        images.encode(
            images.quadrants(),
            "TIFF",
            compression=compression,
            save_all=True,
            append_images=[second],
        )
    )
    assert (made.facts.width, made.facts.height) == (120, 80)
    assert are_close(images.corners(image), images.MODES["jpeg-rgb"][1])


@pytest.mark.usefixtures("more_formats")
@pytest.mark.parametrize("compression", ["lzma", "zstd"])
def test_tiff_of_a_rare_compression_is_unsupported(compression: str) -> None:
    content = images.encode(images.quadrants(), "TIFF", compression="tiff_lzw")
    code = {"lzma": 34925, "zstd": 50000}[compression]
    # The directory entry has the compression tag (259), the type short (3), the count 1, and the
    # value.
    lzw, other = (struct.pack("<HHIH", 259, 3, 1, value) for value in (5, code))
    assert lzw in content
    with pytest.raises(Undecodable, match="unsupported"):
        make_and_open(content.replace(lzw, other))
    unheard_of = struct.pack("<HHIH", 259, 3, 1, 4711)
    with pytest.raises(Undecodable, match="unsupported"):
        make_and_open(content.replace(lzw, unheard_of))
