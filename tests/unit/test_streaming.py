"""Images that are shrunk while they are decoded look like those that Pillow decodes and shrinks."""

import io
import struct
import subprocess
import sys
import zlib

import pytest
from PIL import Image, ImageFile, PngImagePlugin, WebPImagePlugin

from tests.data import images
from tests.support.pixels import psnr
from worker.decoding.inside import libwebp, streaming, vips
from worker.decoding.inside.shrinking import fitting, shrink

pytestmark = pytest.mark.slow

SIZES = ((1000, 700), (701, 1003), (3000, 50), (41, 2900), (330, 320))
MODES = ("L", "LA", "RGB", "RGBA", "P")
CLOSE_DB = 37.0
"""Two thumbnails with at least this PSNR look alike."""

SAME_SHAPE_DB = 32.0
"""The minimum PSNR if libwebp moves the colours. It shrinks them separately from the luminance, and
they have half its resolution. If the size is odd, they move by a part of a pixel."""


def drawn(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """Draw coloured noise without sharp edges; with alpha, it fades out to the right."""
    width, height = size
    image = images.noise(max(2, width // 12), max(2, height // 12)).resize(size)
    if mode == "P":
        return image.quantize(64)
    if "A" in mode:
        image.putalpha(Image.linear_gradient("L").rotate(90).resize(size))
    return image.convert(mode)


def written(image: Image.Image, kind: str, **options: object) -> bytes:
    """Encode an image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def streamed(content: bytes) -> Image.Image | None:
    """Shrink an image while it is decoded; return None if Pillow should decode it."""
    is_png = content.startswith(b"\x89PNG")
    reader: type[ImageFile.ImageFile] = (
        PngImagePlugin.PngImageFile if is_png else WebPImagePlugin.WebPImageFile
    )
    image = reader(io.BytesIO(content))
    size = fitting(*image.size, 320)
    found = streaming.shrunk(image, io.BytesIO(content), size)
    return None if found is None else shrink(found[0], size, found[1])


def by_pillow(image: Image.Image) -> Image.Image:
    """Shrink an image with Pillow alone."""
    return image.resize(fitting(*image.size, 320), Image.Resampling.LANCZOS)


@pytest.fixture(autouse=True)
def every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small images, too, be shrunk while they are decoded."""
    monkeypatch.setattr(streaming, "LEAST_PIXELS", 0)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_a_png_looks_as_pillow_shows_it(mode: str, size: tuple[int, int]) -> None:
    image = drawn(size, mode)
    found = streamed(written(image, "PNG"))
    assert found is not None
    assert found.size == fitting(*size, 320)
    plain = image.convert("RGB") if mode == "P" else image
    assert found.mode == plain.mode
    assert psnr(found, by_pillow(plain)) > CLOSE_DB


def test_a_palette_keeps_its_transparent_colour() -> None:
    image = drawn((900, 600), "P")
    content = written(image, "PNG", transparency=3)
    found = streamed(content)
    assert found is not None
    assert found.mode == "RGBA"
    assert psnr(found, by_pillow(Image.open(io.BytesIO(content)).convert("RGBA"))) > CLOSE_DB


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"quality": 90}),
        ("RGBA", {"quality": 90}),
        ("RGB", {"lossless": True}),
        ("RGBA", {"lossless": True}),
    ],
    ids=["lossy", "lossy-alpha", "lossless", "lossless-alpha"],
)
def test_a_webp_looks_as_pillow_shows_it(
    mode: str, options: dict[str, object], size: tuple[int, int]
) -> None:
    content = written(drawn(size, mode), "WEBP", **options)
    found = streamed(content)
    assert found is not None
    assert (found.size, found.mode) == (fitting(*size, 320), mode)
    close = CLOSE_DB if options.get("lossless") else SAME_SHAPE_DB
    assert psnr(found, by_pillow(Image.open(io.BytesIO(content)))) > close


@pytest.mark.parametrize("size", [(3000, 1), (1, 3000), (500, 400)], ids=str)
def test_a_webp_is_never_decoded_larger_than_it_is(size: tuple[int, int]) -> None:
    content = written(drawn(size), "WEBP")
    image = WebPImagePlugin.WebPImageFile(io.BytesIO(content))
    found = streaming.shrunk(image, io.BytesIO(content), fitting(*size, 320))
    assert found is not None
    assert all(one <= other for one, other in zip(found[0].size, size, strict=True))


def changed(content: bytes, name: bytes, where: int, *, right_checksum: bool) -> bytes:
    """Change a byte of the last chunk that has this name."""
    at = content.rindex(name)
    length = int.from_bytes(content[at - 4 : at], "big")
    found = bytearray(content)
    found[at + 4 + where % length] ^= 0x55
    if right_checksum:
        end = at + 4 + length
        found[end : end + 4] = struct.pack("!I", zlib.crc32(found[at:end]))
    return bytes(found)


PNG = written(drawn((600, 400)), "PNG")
WEBP = written(drawn((600, 400)), "WEBP")

LEFT_TO_PILLOW = {
    "png-16-bits": written(Image.new("I;16", (600, 400), 9), "PNG"),
    "png-1-bit": written(Image.new("1", (600, 400)), "PNG"),
    "png-key-colour": written(drawn((600, 400)), "PNG", transparency=(1, 2, 3)),
    "png-cut-off": PNG[: len(PNG) // 2],
    "png-without-its-last-row": PNG[:-40],
    "png-wrong-byte": changed(PNG, b"IDAT", 50, right_checksum=False),
    "png-wrong-byte-right-checksum": changed(PNG, b"IDAT", 50, right_checksum=True),
    "png-wrong-adler": changed(PNG, b"IDAT", -1, right_checksum=True),
    "webp-animated": written(
        drawn((600, 400)), "WEBP", save_all=True, append_images=[Image.new("RGB", (600, 400))]
    ),
    "webp-cut-off": WEBP[: len(WEBP) // 2],
}


@pytest.mark.parametrize("content", LEFT_TO_PILLOW.values(), ids=LEFT_TO_PILLOW)
def test_an_unusual_or_damaged_file_is_left_to_pillow(content: bytes) -> None:
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    reader: type[ImageFile.ImageFile] = (
        PngImagePlugin.PngImageFile if content[:4] == b"\x89PNG" else WebPImagePlugin.WebPImageFile
    )
    if content == LEFT_TO_PILLOW["webp-cut-off"]:
        # Pillow rejects this file already when it opens it
        assert libwebp.decode(content, (600, 400)) is None
        return
    image = reader(io.BytesIO(content))
    assert streaming.shrunk(image, io.BytesIO(content), (320, 213)) is None


def test_an_interlaced_png_is_left_to_pillow() -> None:
    header = bytearray(PNG[:33])
    header[28] = 1
    header[29:33] = struct.pack("!I", zlib.crc32(header[12:29]))
    assert streamed(bytes(header) + PNG[33:]) is None


@pytest.mark.parametrize("mode", ["L", "La", "RGB", "RGBa"])
@pytest.mark.parametrize("size", [(720, 540), (481, 330), (320, 900), (333, 320)], ids=str)
def test_lanczos_of_libvips_is_that_of_pillow(mode: str, size: tuple[int, int]) -> None:
    image = drawn(size, {"La": "LA", "RGBa": "RGBA"}.get(mode, mode)).convert(mode)
    small = fitting(*size, 320)
    assert psnr(vips.lanczos(image, small), image.resize(small, 1)) > 45


NO_READER_AND_NO_THREAD = """
import io, os
from PIL import Image
from worker.decoding.inside import streaming, vips

streaming.load()
module = vips.load()
operation = module.lib.vips_operation_new(b"jpegload_buffer")
assert module.lib.vips_cache_operation_build(operation) == module.ffi.NULL
assert "blocked" in vips._message(), "not blocked"
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_libvips_has_no_other_reader_and_starts_no_thread() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", NO_READER_AND_NO_THREAD], capture_output=True, text=True, check=False
    )
    assert (ran.stdout.strip(), ran.stderr) == ("1", "")
