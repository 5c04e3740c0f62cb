"""Images to thumbnails: pure functions over an open file, run inside the box only.

The steps, in the order that is cheapest and safest: header → limits → decode, shrunk while
decoding where the format can → shrink → upright → sRGB → encode without any metadata.
"""

import io
from collections.abc import Collection
import warnings
from dataclasses import dataclass
from typing import BinaryIO, Final

from PIL import (
    GifImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    MpoImagePlugin,  # noqa: F401 - the JPEG plugin hands files of several images to it
    PngImagePlugin,
    WebPImagePlugin,
)

from shared.errors import Rejected
from worker.polyglots import carries_more

MAX_EDGE: Final = 320
MAX_SCANS: Final = 100
"""Normal progressive JPEGs have about 10 scans, the worst of a large corpus 53; each costs a pass
over all coefficients, so 500 scans take ten seconds where ten take a fraction of one."""

SHRINK_GAP: Final = 1.5
"""How many times the thumbnail's size is left to Lanczos, at the least, when a decoder shrinks by
itself. Against shrinking from every pixel the result has 37 dB or more, which the eye does not
tell apart and JPEG's own loss hides; Pillow's usual 2 costs a fifth more for 13 megapixels."""

FORMATS: Final = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        GifImagePlugin.GifImageFile,
        WebPImagePlugin.WebPImageFile,
    )
)
"""The only formats that are ever decoded; named by their plugins, which are thereby loaded."""

Image.MAX_IMAGE_PIXELS = None  # the limit is checked here, exactly, and before any pixel
ImageFile.LOAD_TRUNCATED_IMAGES = False

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """An encoded thumbnail, and the size of its original in upright pixels.

    `extension` is None where the format is the original's, so that its name can stay. The
    original `carries_more` where bytes of another kind follow the image.
    """

    body: bytes
    content_type: str
    extension: str | None
    width: int | None
    height: int | None
    pages: int | None = None
    carries_more: bool


def load_codecs(more: Collection[str] = ()) -> None:
    """Make further formats decodable; nothing is loaded after that."""


def make_thumbnail(file: BinaryIO, *, max_pixels: int) -> Thumbnail:
    """Make a thumbnail of at most 320×320: upright, sRGB, alpha kept, no metadata.

    JPEG gives JPEG, PNG and GIF's first frame PNG, WebP WebP. Raises Rejected with
    `too_many_pixels`, `too_many_scans`, `truncated`, `broken` or `decoder_memory`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _make(file, max_pixels)
    except Rejected:
        raise
    except MemoryError:
        raise Rejected("decoder_memory") from None
    except Exception as error:  # Pillow lets nearly anything escape from a bad file
        # Its words for a file that ends too early are the only sign of it.
        words = str(error).lower()
        cut = "truncated" in words or "unexpected end" in words or isinstance(error, EOFError)
        raise Rejected("truncated" if cut else "broken") from None


def _make(file: BinaryIO, max_pixels: int) -> Thumbnail:
    with Image.open(file, formats=FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise Rejected("too_many_pixels")
        if image.format in ("JPEG", "MPO"):
            if image.info.get("progressive") and _scans(file) > MAX_SCANS:
                raise Rejected("too_many_scans")
            image.draft(None, _enough(width, height))
        orientation = _orientation(image)
        profile = image.info.get("icc_profile")
        transparent = "transparency" in image.info
        image.load()
        small = _shrink(_plain_mode(image, transparent=transparent))
        kind = {"MPO": "JPEG", "GIF": "PNG"}.get(image.format or "", image.format or "")
        changed = image.format == "GIF"
        more = carries_more(file, image.format)
    small = _to_srgb(small, profile)
    small = _upright(small, orientation)
    if orientation >= 5:
        width, height = height, width
    return Thumbnail(
        body=_encode(small, kind),
        content_type=f"image/{kind.lower()}",
        extension="png" if changed else None,
        width=width,
        height=height,
        carries_more=more,
    )


def _enough(width: int, height: int) -> tuple[int, int]:
    """Tell the size from which a thumbnail can be shrunk well; a JPEG is decoded no larger."""
    scale = min(1.0, MAX_EDGE / max(width, height)) * SHRINK_GAP
    return max(1, int(width * scale)), max(1, int(height * scale))


def _scans(file: BinaryIO) -> int:
    """Count start-of-scan markers; inside entropy-coded data none can stand (ITU-T T.81, B.1.1)."""
    position = file.tell()
    file.seek(0)
    count, last = 0, b""
    while chunk := file.read(1 << 20):
        count += (last + chunk).count(b"\xff\xda")
        last = chunk[-1:]
    file.seek(position)
    return count


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF is worth no upload
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _plain_mode(image: Image.Image, *, transparent: bool) -> Image.Image:
    """Bring any mode to L, LA, RGB, RGBA or CMYK, in which averaging pixels means something."""
    mode = image.mode
    if mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        # a single colour may be declared transparent in RGB and L (PNG's tRNS)
        if transparent and mode in ("L", "RGB"):
            return image.convert("RGBA")
        return image
    if mode in ("P", "PA"):
        return image.convert("RGBA" if transparent or mode == "PA" else "RGB")
    if mode.startswith("I"):  # 16 bits a sample
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if mode == "1":
        return image.convert("L")
    if mode in ("La", "RGBa"):
        return image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    return image.convert("RGB")


def _shrink(image: Image.Image) -> Image.Image:
    image.thumbnail((MAX_EDGE, MAX_EDGE), Image.Resampling.LANCZOS, reducing_gap=SHRINK_GAP)
    return image


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    target = {"CMYK": "RGB"}.get(image.mode, image.mode)
    if profile and image.mode in ("RGB", "RGBA", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, _SRGB, outputMode=target)
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass  # a bad profile is ignored, as browsers do
    return image if image.mode == target else image.convert(target)


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    if orientation == 1:
        return image
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    image.info = {"exif": exif.tobytes()}
    return ImageOps.exif_transpose(image)


def _encode(image: Image.Image, kind: str) -> bytes:
    image.info = {}  # comments, profiles and the like would be written out again
    buffer = io.BytesIO()
    if kind == "JPEG":
        if image.mode not in ("L", "RGB"):
            image = image.convert("RGB")
        image.save(buffer, "JPEG", quality=82)
    elif kind == "WEBP":
        if image.mode not in ("RGB", "RGBA"):
            image = image.convert("RGBA" if "A" in image.mode else "RGB")
        image.save(buffer, "WEBP", quality=80, method=4)
    else:
        image.save(buffer, "PNG")
    return buffer.getvalue()
