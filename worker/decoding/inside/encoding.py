"""Encode thumbnails without metadata. The settings balance quality, size and CPU time."""

import io
from typing import Final, Literal, get_args

from PIL import Image

JPEG_QUALITY: Final = 82
"""JPEG quality. The colour has half resolution (4:2:0), which is Pillow's default and usual in
cameras. The table has the size of thumbnails of drawn images, and the SSIM of their luminance,
compared with a lossless thumbnail of 320 pixels:

    quality      photo            page of text     shapes and large type
    75, 4:2:0    22.6 KiB 0.9973  21.1 KiB 0.9872  18.5 KiB 0.9843
    82, 4:2:0    26.4 KiB 0.9981  24.8 KiB 0.9927  21.8 KiB 0.9890
    90, 4:2:0    34.4 KiB 0.9989  31.4 KiB 0.9975  28.7 KiB 0.9940
    82, 4:4:4    40.4 KiB 0.9981  25.6 KiB 0.9927  31.7 KiB 0.9903

A quality of 90 costs a third more space, and the difference is visible only on a page of text.
Optimized Huffman tables are not used: they make a file 4 % smaller, but encoding takes three times
as long (0.6 instead of 0.2 ms)."""

PAGE_QUALITY: Final = 85
"""JPEG quality of documents. The colour has full resolution (4:4:4), so that red letters keep their
edges. Shapes and large type have a PSNR of 29 to 33 dB; with 4:2:0 it would be 24 dB. A page of
text has little colour, so the full resolution makes it only 3 % larger: 27.6 KiB, SSIM 0.9947. As a
PNG, the same page has at least 56 KiB."""

WEBP_QUALITY: Final = 80
"""WebP quality. A thumbnail looks like a JPEG of quality 82, but is a little smaller: 24.2 KiB for
a photo (SSIM 0.9950), 19.1 KiB for a page of text (0.9968), 14.2 KiB for shapes and large type
(0.9927)."""

WEBP_METHOD: Final = 4
"""WebP's method, from 0 (fastest) to 6 (smallest files). Method 4 takes 7 ms of CPU time for a
photo. Method 2 takes 4 ms, but the file is 3 % larger, or 50 % larger if the photo has grain.
Method 6 takes 17 ms, and the file is less than 1 % smaller."""

PNG_LEVEL: Final = 3
"""PNG compression level, 0 to 9. The table has the size and CPU time of three thumbnails:

level         photo            page of text     shapes and large type
3             171 KiB 6.6 ms   56 KiB 3.9 ms    60 KiB 3.0 ms
6 (Pillow's)  162 KiB 7.6 ms   80 KiB 7.7 ms    57 KiB 4.4 ms

At the middle levels, zlib-ng compresses the page of text badly. Levels above 6 make files less than
3 % smaller, but take up to four times as long.
"""


Format = Literal["JPEG", "PNG", "WEBP"]
"""The formats of thumbnails. Every browser can show them."""

FORMATS: Final[tuple[Format, ...]] = get_args(Format)


def encode(image: Image.Image, kind: Format, *, lossless: bool = False) -> bytes:
    """Encode an image as `JPEG`, `PNG` or `WEBP`, without any metadata. Clears `image.info`.

    With `lossless`, a WebP keeps every pixel exactly. A PNG always does.
    """
    # otherwise Pillow writes comments, profiles and other metadata into the thumbnail
    image.info = {}
    buffer = io.BytesIO()
    match kind:
        case "JPEG":
            if image.mode not in ("L", "RGB"):
                image = image.convert("RGB")
            image.save(buffer, "JPEG", quality=JPEG_QUALITY)
        case "WEBP":
            if image.mode not in ("RGB", "RGBA"):
                image = image.convert("RGBA" if "A" in image.mode else "RGB")
            image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD, lossless=lossless)
        case _:
            image.save(buffer, "PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()


def encode_page(image: Image.Image) -> bytes:
    """Encode a page of a document as JPEG. The image must be in RGB."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=PAGE_QUALITY, subsampling=0)
    return buffer.getvalue()
