"""PDFs to thumbnails of their first page, by PDFium: run inside a box of its own only.

PDFium may not be called by two threads, and is a large reader of a large format: it shares its
process with nothing else. Neither JavaScript nor XFA is run: the library is built without both,
and forms are not set up. What is filled into a form is drawn as it stands there, laid onto the page
like any other drawing.
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

import pypdfium2  # type: ignore[import-untyped]  # it has no types
import pypdfium2.raw as pdfium  # type: ignore[import-untyped]  # it has no types
from PIL import Image
from pypdfium2.internal import get_bufreader  # type: ignore[import-untyped]  # it has no types

from shared.errors import Undecodable
from shared.facts import Facts, Thumbnail
from worker.decoding.inside.encoding import encode_page
from worker.decoding.inside.shrinking import MAX_EDGE

MAX_SCALE: Final = MAX_EDGE / 72
"""Pixels a point at the most: a page of an inch or more fills the thumbnail, a smaller one not."""

OVERSAMPLING: Final = 2
"""How many times larger a page is drawn than shown, then shrunk by Lanczos. PDFium shrinks pictures
coarsely: a scanned page of text has 41 dB (SSIM 0.9987) so, and 30 dB (0.9853) when drawn at the
size of the thumbnail. It costs 17 ms instead of 12."""

_FLAGS: Final = pdfium.FPDF_ANNOT | pdfium.FPDF_REVERSE_BYTE_ORDER
_ENCRYPTED: Final = (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY)

_SMALLEST: Final = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1/MediaBox[0 0 72 72]>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/Contents 4 0 R"
    b"/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>endobj\n"
    b"4 0 obj<</Length 32>>stream\nBT /F 12 Tf 9 9 Td (warm) Tj ET \nendstream endobj\n"
    b"trailer<</Root 1 0 R>>\n"
)


def warm_up() -> None:
    """Use once all that is needed, so that nothing is loaded later."""
    make_thumbnail(io.BytesIO(_SMALLEST))


def make_thumbnail(file: BinaryIO) -> Thumbnail:
    """Draw the first page, upright, on white, into at most 320×320, and count the pages.

    The file is read as PDFium asks for its parts. Gives a JPEG. Raises Undecodable with `encrypted`
    (a password is needed, or the kind of lock is not known), `damaged` or `too_expensive`.
    """
    try:
        with _open(file) as document:
            pages = len(document)
            if pages < 1:
                raise Undecodable("damaged")
            body = _draw(_first_page(document))
    except pypdfium2.PdfiumError:
        raise Undecodable("damaged") from None
    except MemoryError:
        raise Undecodable("too_expensive") from None
    return Thumbnail(
        body=body, content_type="image/jpeg", extension="jpg", facts=Facts(pages=pages)
    )


@contextmanager
def _open(file: BinaryIO) -> Iterator[pypdfium2.PdfDocument]:
    """Open a document. Not by `PdfDocument(file)`, which lets one without pages lie in memory and
    then tells of it by whatever fault PDFium had before."""
    access, held = get_bufreader(file)
    document = pdfium.FPDF_LoadCustomDocument(access, None)
    if not document:
        raise Undecodable("encrypted" if pdfium.FPDF_GetLastError() in _ENCRYPTED else "damaged")
    with pypdfium2.PdfDocument(document) as opened:
        yield opened
    del held  # PDFium reads by it until now


def _first_page(document: pypdfium2.PdfDocument) -> pypdfium2.PdfPage:
    """Load the first page, with what is filled in and noted on it drawn like all else."""
    page = document[0]
    if pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY) == pdfium.FLATTEN_SUCCESS:
        page.close()  # read again, as what was laid onto it is not there yet
        page = document[0]
    return page


def _draw(page: pypdfium2.PdfPage) -> bytes:
    width, height = page.get_size()  # in points, as turned
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise Undecodable("damaged")
    scale = min(MAX_EDGE / max(width, height), MAX_SCALE)
    shown = tuple(max(1, round(edge * scale)) for edge in (width, height))
    columns, rows = (OVERSAMPLING * edge for edge in shown)
    bitmap = pypdfium2.PdfBitmap.new_native(
        columns, rows, pdfium.FPDFBitmap_BGRx, rev_byteorder=True
    )
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, columns, rows)
    pdfium.FPDF_RenderPageBitmap(bitmap, page, 0, 0, columns, rows, 0, _FLAGS)
    drawn = bitmap.to_pil().convert("RGB")
    return encode_page(drawn.resize(shown, Image.Resampling.LANCZOS))
