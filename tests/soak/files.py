"""The uploads of a soak test: photos and PDFs that show their number, other documents, and junk.

The number is drawn as a grid of dark and bright cells. In photos, the grid lies over a texture. The
grid is still readable in a thumbnail, so a thumbnail shows from which upload it was made.
"""

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Final

from PIL import Image

from shared.reasons import ReasonCode
from shared.states import State
from tests.data.images import BATCH, ELF, HTML, encode
from tests.data.odd_images import many_scans, png_of_size

COLUMNS: Final = 6
ROWS: Final = 4
MAX_CODE: Final = 2 ** (COLUMNS * ROWS) - 1
DARK_BELOW: Final = 90
BRIGHT_ABOVE: Final = 165
"""A cell is bright if its mean brightness is above this value, and dark if below DARK_BELOW.

If a cell of an image is neither, the image shows no number.
"""

DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The row that a file must have when its processing has ended.

    `code` is the number that the thumbnail must show, or None if there must be no thumbnail. If
    `content_type` is None, every type is accepted.
    """

    state: State = "ready"
    reasons: tuple[ReasonCode | None, ...] = (None,)
    content_type: str | None = None
    code: int | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """The bytes of an upload and their expected result."""

    content: bytes
    expected: Expected


@lru_cache(maxsize=16)
def _textures(width: int, height: int) -> tuple[Image.Image, Image.Image]:
    # The texture is smooth noise with grain, as in a photo. Dark and bright cells have the same
    # texture.
    random = Random(width * height)
    coarse = (max(width // 16, 1), max(height // 16, 1))

    def smooth() -> Image.Image:
        noise = Image.frombytes("L", coarse, random.randbytes(coarse[0] * coarse[1]))
        return noise.resize((width, height), Image.Resampling.BICUBIC)

    colours = Image.merge("RGB", [smooth(), smooth(), smooth()])
    grain = Image.frombytes("L", (width, height), random.randbytes(width * height))
    texture = Image.blend(colours, Image.merge("RGB", [grain] * 3), 0.25)
    return texture.point(lambda value: value // 4), texture.point(lambda value: 192 + value // 4)


def paint(code: int, width: int, height: int) -> Image.Image:
    """Draw a photo with a grid that shows a number from 0 to MAX_CODE, the highest bit first."""
    assert 0 <= code <= MAX_CODE
    cells = bytes(255 * (code >> bit & 1) for bit in reversed(range(COLUMNS * ROWS)))
    mask = Image.frombytes("L", (COLUMNS, ROWS), cells)
    dark, bright = _textures(width, height)
    return Image.composite(bright, dark, mask.resize((width, height), Image.Resampling.NEAREST))


def read_code(image: bytes) -> int | None:
    """Return the number that an image of any size shows, or None if the number is unclear."""
    with Image.open(io.BytesIO(image)) as opened:
        grey = opened.convert("L")
    # Shrinking blurs the edges of a cell, so only the middle of each cell is read.
    width, height = grey.size
    code = 0
    for row in range(ROWS):
        for column in range(COLUMNS):
            box = (
                round((column + 0.25) * width / COLUMNS),
                round((row + 0.25) * height / ROWS),
                round((column + 0.75) * width / COLUMNS),
                round((row + 0.75) * height / ROWS),
            )
            cell = grey.resize((1, 1), Image.Resampling.BOX, box=box).getpixel((0, 0))
            assert isinstance(cell, int)
            if DARK_BELOW <= cell <= BRIGHT_ABOVE:
                return None
            code = code << 1 | (cell > BRIGHT_ABOVE)
    return code


def _photo(kind: str, width: int, height: int, **options: int | bool) -> Callable[[int], File]:
    def make(code: int) -> File:
        image = paint(code, width, height)
        if kind == "GIF":
            image = image.convert("L")  # a GIF in grey is encoded faster than in colour
        return File(
            content=encode(image, kind, **options),
            expected=Expected(
                content_type=f"image/{kind.lower()}", code=code, width=width, height=height
            ),
        )

    return make


def _tag(code: int) -> bytes:
    return f" soak-{code}".encode()


def _text(code: int) -> File:
    text = f"Minutes of meeting {code}\n\n" + "All that was said has been written down.\n" * 40
    return File(content=text.encode(), expected=Expected(content_type="text/plain; charset=utf-8"))


def _html(code: int) -> File:
    return File(
        content=HTML + b"<!--%b-->" % _tag(code), expected=Expected(content_type="text/html")
    )


def _pdf(code: int) -> File:
    cell = 40  # the unit is a PDF point (1/72 inch)
    cells = b"".join(
        b"%.1f g %d %d %d %d re f\n"
        % (
            0.9 if bit == "1" else 0.1,
            place % COLUMNS * cell,
            (ROWS - 1 - place // COLUMNS) * cell,
            cell,
            cell,
        )
        for place, bit in enumerate(f"{code:0{COLUMNS * ROWS}b}")
    )
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Contents 4 0 R>>"
        % (COLUMNS * cell, ROWS * cell),
        b"<</Length %d>>stream\n%bendstream\n" % (len(cells), cells),
    )
    body, places = b"%PDF-1.4\n%" + _tag(code) + b"\n", []
    for number, item in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj%bendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"xref\n0 5\n0000000000 65535 f \n%btrailer<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
    return File(
        content=body + end % (table, len(body)),
        expected=Expected(content_type="application/pdf", code=code),
    )


def _docx(code: int) -> File:
    file = io.BytesIO()
    spaces = "http://schemas.openxmlformats.org"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{spaces}/package/2006/content-types"><Override '
            f'PartName="/word/document.xml" ContentType="{DOCX}.main+xml"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{spaces}/package/2006/relationships"><Relationship Id="r1" '
            f'Type="{spaces}/officeDocument/2006/relationships/officeDocument" '
            'Target="word/document.xml"/></Relationships>',
        )
        archive.writestr(
            "word/document.xml",
            f'<w:document xmlns:w="{spaces}/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>'
            f"{code}</w:t></w:r></w:p></w:body></w:document>",
        )
    return File(content=file.getvalue(), expected=Expected(content_type=DOCX))


def _empty(_code: int) -> File:
    return File(content=b"", expected=Expected(content_type="application/octet-stream"))


def _noise(code: int) -> File:
    random = Random(code)
    content = b"\x01\x02\x03\x04" + _tag(code) + random.randbytes(random.randrange(200, 200_000))
    return File(content=content, expected=Expected())


def _rejected(content: bytes, *reasons: ReasonCode) -> File:
    return File(content=content, expected=Expected(state="rejected", reasons=reasons))


def _undecodable(content: bytes, reason: ReasonCode, width: int, height: int) -> File:
    return File(content=content, expected=Expected(reasons=(reason,), width=width, height=height))


def _truncated(code: int) -> File:
    whole = encode(paint(code, 640, 480), "JPEG", quality=80, comment=_tag(code))
    return _undecodable(whole[: whole.index(b"\xff\xda")], "damaged", 640, 480)


BOMB_SIZE: Final = (120, 80)


@lru_cache(maxsize=1)
def _bomb() -> bytes:
    return many_scans(150)


PHOTOS: Final[Mapping[str, Callable[[int], File]]] = {
    "jpeg": _photo("JPEG", 640, 480, quality=84),
    "jpeg-upright": _photo("JPEG", 480, 640, quality=84),
    "jpeg-progressive": _photo("JPEG", 800, 600, quality=80, progressive=True),
    "jpeg-large": _photo("JPEG", 1600, 1200, quality=80),
    "jpeg-tiny": _photo("JPEG", 192, 128, quality=90),
    "png": _photo("PNG", 320, 240, compress_level=1),
    "gif": _photo("GIF", 320, 240),
    "webp": _photo("WEBP", 480, 360, quality=80, method=0),
}

DOCUMENTS: Final[Mapping[str, Callable[[int], File]]] = {
    "pdf": _pdf,
    "docx": _docx,
    "text": _text,
    "html": _html,
}

JUNK: Final[Mapping[str, Callable[[int], File]]] = {
    "empty": _empty,
    "noise": _noise,
    "truncated": _truncated,
    "scans": lambda code: _undecodable(_bomb() + _tag(code), "too_expensive", *BOMB_SIZE),
    "pixels": lambda code: _undecodable(
        png_of_size(30000, 30000) + _tag(code), "too_expensive", 30000, 30000
    ),
    "script": lambda code: _rejected(BATCH + b"rem " + _tag(code), "reserved_type"),
    "program": lambda code: _rejected(ELF + _tag(code), "reserved_type"),
}

FILES: Final = {**PHOTOS, **DOCUMENTS, **JUNK}
EXTENSIONS: Final = {
    "jpeg": "jpg",
    "jpeg-upright": "JPG",
    "jpeg-progressive": "jpeg",
    "jpeg-large": "jpg",
    "jpeg-tiny": "jpg",
    "png": "png",
    "gif": "gif",
    "webp": "webp",
    "pdf": "pdf",
    "docx": "docx",
    "text": "txt",
    "html": "html",
    "empty": "dat",
    "noise": "bin",
    "truncated": "jpg",
    "scans": "jpg",
    "pixels": "png",
    "script": "png",
    "program": "jpg",
}
"""The file name extensions by kind of file."""
