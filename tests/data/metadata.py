"""Images with valid pixels but bad metadata: colour profiles, EXIF and previews.

The files belong to rows 81 and 84 of limits.md.
"""

import io
import struct
import zlib
from functools import cache, partial
from random import Random
from typing import Final, Literal

from PIL import Image, ImageCms

from tests.data.images import RED, encode, quadrants
from tests.data.pieces import Entry, exif, png_chunk, segment, with_png_chunks, with_segments
from tests.data.sample import READY, Sample, image

LONGEST: Final = 65_533
"""The maximum number of content bytes in one JPEG segment."""


@cache
def profile(space: Literal["sRGB", "LAB", "XYZ"]) -> bytes:
    """Make an ICC profile of a colour space.

    Its creation time is set to zeros, so that the bytes are always the same.
    """
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes())
    made[24:36] = bytes(12)
    return bytes(made)


def patched(at: int, replacement: bytes) -> bytes:
    """Return the sRGB profile with `replacement` at offset `at`.

    ICC.1:2022, section 7.2, describes the header.
    """
    made = profile("sRGB")
    return made[:at] + replacement + made[at + len(replacement) :]


def scrambled(seed: int) -> bytes:
    """Return the sRGB profile with up to a tenth of its bytes changed, but not in the header."""
    random = Random(seed)
    made = bytearray(profile("sRGB"))
    for _ in range(len(made) // 10):
        made[random.randrange(128, len(made))] = random.randrange(256)
    return bytes(made)


PROFILES = {
    "empty": b"",
    "of-3-bytes": b"icc",
    "of-zeros": bytes(128),
    "cut": profile("sRGB")[:200],
    "for-lab": profile("LAB"),
    "for-xyz": profile("XYZ"),
    "for-cmyk": patched(16, b"CMYK"),
    "for-grey": patched(16, b"GRAY"),
    "of-an-unknown-space": patched(16, b"????"),
    "that-says-2-GiB": patched(0, b"\x7f\xff\xff\xff"),
    "of-2^32-tags": patched(128, b"\xff\xff\xff\xff"),
    "with-tags-beyond-its-end": patched(136, b"\xff\xff\xff\x00\xff\xff\xff\x00"),
    "with-tags-upon-tags": patched(136, b"\x00\x00\x00\x80\x00\x00\x10\x00"),
    "of-900-kB": profile("sRGB") + Random(1).randbytes(900_000),
    **{f"scrambled-{seed}": scrambled(seed) for seed in range(4)},
}


def _with_profile(kind: str, made: bytes) -> bytes:
    match kind:
        # The code writes these segments itself, because an encoder would omit an empty profile.
        case "JPEG":
            pieces = [made[at : at + 65_519] for at in range(0, max(1, len(made)), 65_519)]
            return with_segments(
                encode(quadrants(), "JPEG"),
                *(
                    segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(pieces)]) + piece)
                    for number, piece in enumerate(pieces, 1)
                ),
            )
        case "PNG":
            chunk = png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(made))
            return with_png_chunks(encode(quadrants(), "PNG"), chunk, before=b"IDAT")
        case _:
            return encode(quadrants(), kind, icc_profile=made or b"\0")


ICC = tuple(
    image(81, f"{extension}-profile-{title}", extension, partial(_with_profile, kind, made), READY)
    for kind, extension in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"))
    for title, made in PROFILES.items()
)


def jpeg_with_exif(*bodies: bytes) -> bytes:
    """Draw a JPEG with these EXIF segments."""
    return with_segments(encode(quadrants(), "JPEG"), *(segment(0xE1, body) for body in bodies))


def png_with_exif(body: bytes) -> bytes:
    """Draw a PNG with this EXIF data."""
    chunk = png_chunk(b"eXIf", body.removeprefix(b"Exif\0\0"))
    return with_png_chunks(encode(quadrants(), "PNG"), chunk, before=b"IDAT")


def _entry(tag: int, kind: int, count: int, value: int) -> Entry:
    return tag, kind, count, struct.pack("<I", value)


ORIENTATION, EXIF_IFD, GPS_IFD, DESCRIPTION = 0x0112, 0x8769, 0x8825, 0x010E

ODD_EXIF = {
    "empty": b"Exif\0\0",
    "of-junk": b"Exif\0\0" + b"\xff" * 300,
    "of-another-byte-order": b"Exif\0\0MM\0*" + bytes(60),
    "that-follows-itself": exif([_entry(DESCRIPTION, 2, 4, 0)], following=8),
    "that-points-at-itself": exif([_entry(EXIF_IFD, 4, 1, 8), _entry(GPS_IFD, 4, 1, 8)]),
    "that-points-beyond": exif([_entry(EXIF_IFD, 4, 1, 2**32 - 1)]),
    "of-2^32-values": exif([_entry(DESCRIPTION, 5, 2**32 - 1, 8)]),
    "of-65535-entries": b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(500),
    "of-5000-entries": exif([_entry(number, 3, 1, 1) for number in range(5000)]),
    "of-unknown-types": exif([_entry(DESCRIPTION, number, 1, 1) for number in range(14, 99)]),
    "orientation-0": exif([_entry(ORIENTATION, 3, 1, 0)]),
    "orientation-9": exif([_entry(ORIENTATION, 3, 1, 9)]),
    "orientation-of-text": exif([_entry(ORIENTATION, 2, 4, 0x00363636)]),
    "orientation-of-2^31": exif([_entry(ORIENTATION, 4, 1, 2**31)]),
    "orientation-a-ratio-by-0": exif([_entry(ORIENTATION, 5, 1, 26)], rest=bytes(8)),
    "resolution-a-ratio-by-0": exif([_entry(0x011A, 5, 1, 26)], rest=bytes(8)),
    "preview-beyond": exif([_entry(0x0201, 4, 1, 2**31), _entry(0x0202, 4, 1, 2**31)]),
}

EXIF = (
    *(
        image(81, f"jpg-exif-{title}", "jpg", partial(jpeg_with_exif, body), READY)
        for title, body in ODD_EXIF.items()
    ),
    *(
        image(81, f"png-exif-{title}", "png", partial(png_with_exif, body), READY)
        for title, body in ODD_EXIF.items()
        if len(body) > 6
    ),
    image(
        81,
        "jpg-exif-of-64-kB",
        "jpg",
        lambda: jpeg_with_exif(exif([_entry(DESCRIPTION, 2, 60_000, 26)], rest=b"x" * 65_000)),
        READY,
    ),
    image(
        81,
        "jpg-exif-in-40-segments",
        "jpg",
        lambda: jpeg_with_exif(*[b"Exif\0\0" + b"x" * (LONGEST - 6)] * 40),
        READY,
    ),
    image(
        81,
        "png-exif-of-2-MiB",
        "png",
        lambda: png_with_exif(exif([_entry(DESCRIPTION, 2, 2**21, 26)], rest=b"x" * 2**21)),
        READY,
    ),
    image(
        81,
        "jpg-segments-of-all-kinds",
        "jpg",
        lambda: with_segments(
            encode(quadrants(), "JPEG"),
            *(
                segment(0xE0 + number, b"Photoshop 3.0\0" + bytes(LONGEST - 14))
                for number in range(16)
            ),
        ),
        READY,
    ),
)


def mpo(frames: int = 2) -> bytes:
    """Draw an MPO file, which holds several images, as stereo cameras write it (CIPA DC-007)."""
    file = io.BytesIO()
    more = [Image.new("RGB", (120, 80), RED)] * (frames - 1)
    quadrants().save(file, "MPO", save_all=True, append_images=more)
    return file.getvalue()


def mpo_with_offset(offset: int) -> bytes:
    """Return an MPO file whose index has `offset` as the position of the second image."""
    content = mpo()
    # The index of an MPO is a TIFF structure. It has an entry of 16 bytes for each image. The
    # entry begins with the attributes, the size and the offset, each of 4 bytes.
    index = content.index(b"MPF\0") + 4
    (entries,) = struct.unpack_from("<I", content, content.index(b"\x02\xb0", index) + 8)
    at = index + entries + 16 + 8
    return content[:at] + struct.pack("<I", offset) + content[at + 4 :]


MPO = (
    image(84, "mpo", "mpo", mpo, READY),
    image(84, "mpo-of-20", "jpg", lambda: mpo(20), READY),
    image(
        84, "mpo-without-its-second-image", "jpg", lambda: mpo()[: mpo().rindex(b"\xff\xd8")], READY
    ),
    image(84, "mpo-that-points-beyond", "jpg", lambda: mpo_with_offset(2**32 - 1), READY),
    image(84, "mpo-that-points-at-itself", "jpg", lambda: mpo_with_offset(0), READY),
    image(
        84,
        "mpo-of-a-broken-index",
        "jpg",
        lambda: with_segments(encode(quadrants(), "JPEG"), segment(0xE2, b"MPF\0" + b"\xff" * 50)),
        READY,
    ),
)

SAMPLES: tuple[Sample, ...] = ICC + EXIF + MPO
