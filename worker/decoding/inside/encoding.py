"""Thumbnails to bytes: how much loss is worth how much space, and nothing but the pixels."""

import io
from typing import Final

from PIL import Image

JPEG_QUALITY: Final = 82
"""With colour at half resolution, which Pillow chooses and cameras use. Against a lossless
thumbnail of 320 pixels, luminance by SSIM, of drawn images:

    quality      photo            page of text     shapes and large type
    75, 4:2:0    22.6 KiB 0.9973  21.1 KiB 0.9872  18.5 KiB 0.9843
    82, 4:2:0    26.4 KiB 0.9981  24.8 KiB 0.9927  21.8 KiB 0.9890
    90, 4:2:0    34.4 KiB 0.9989  31.4 KiB 0.9975  28.7 KiB 0.9940
    82, 4:4:4    40.4 KiB 0.9981  25.6 KiB 0.9927  31.7 KiB 0.9903

The step to 90 costs a third more and shows on a page of text only. Huffman tables of its own make
a file 4 % smaller and encoding take three times as long (0.6 instead of 0.2 ms), so: no."""

PAGE_QUALITY: Final = 85
"""For documents, with colour at full resolution: red letters keep their edges (29 to 33 dB on
shapes and type, 24 with 4:2:0), and a page of text, which has little colour, is only 3 % larger.
27.6 KiB, SSIM 0.9947; the same page as PNG has 56 KiB at the least."""

WEBP_QUALITY: Final = 80
"""Of the same look as JPEG's 82 in a little less space: 24.2 KiB for the photo (SSIM 0.9950),
19.1 for the text (0.9968), 14.2 for the shapes (0.9927)."""

WEBP_METHOD: Final = 4
"""7 ms of CPU for the photo. 2 takes 4 ms and is 3 % larger, but half as large again where there
is grain; 6 takes 17 ms and is less than 1 % smaller."""

PNG_LEVEL: Final = 3
"""Of 0 to 9. Against 6, Pillow's default: the page of text 56 KiB in 3.9 ms instead of 80 in 7.7
(zlib-ng's middle levels do not suit it), the shapes 60 in 3.0 instead of 57 in 4.4, the photo 171
in 6.6 instead of 162 in 7.6. Levels above 6 gain less than 3 %, and take up to four times longer.
"""


def encode(image: Image.Image, kind: str) -> bytes:
    """Encode as `JPEG`, `PNG` or `WEBP`, without metadata of any kind."""
    image.info = {}  # comments, profiles and the like would be written out again
    buffer = io.BytesIO()
    match kind:
        case "JPEG":
            if image.mode not in ("L", "RGB"):
                image = image.convert("RGB")
            image.save(buffer, "JPEG", quality=JPEG_QUALITY)
        case "WEBP":
            if image.mode not in ("RGB", "RGBA"):
                image = image.convert("RGBA" if "A" in image.mode else "RGB")
            image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD)
        case _:
            image.save(buffer, "PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()


def encode_page(image: Image.Image) -> bytes:
    """Encode a page of a document, in RGB, as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=PAGE_QUALITY, subsampling=0)
    return buffer.getvalue()
