"""Turn PDFs into thumbnails of their first page with PDFium, in a separate kind of sandbox.

PDFium may not be called by two threads, and it is a large library for a large format. So its
process does nothing else. JavaScript and XFA never run, because PDFium is built without them.
PDFium's module for forms is not initialized. The contents of form fields become part of the page
and are drawn with it.
"""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Final

import pypdfium2  # type: ignore[import-untyped]  # it has no types
import pypdfium2.raw as pdfium  # type: ignore[import-untyped]  # it has no types
from PIL import Image
from pypdfium2.internal import get_bufreader  # type: ignore[import-untyped]  # it has no types

from shared.errors import Undecodable
from shared.facts import THUMB_EDGE, Facts, Picture, Thumbnail
from worker.decoding.inside import fonts, pdf_fonts
from worker.decoding.inside.encoding import encode_page
from worker.decoding.inside.thumbhash import thumbhash

MAX_SCALE: Final = THUMB_EDGE / 72
"""Maximum number of pixels per point (1/72 inch). A page whose longer side is at least one inch
fills `thumb`, and a page of A4 fills a style of 2048 pixels. The thumbnail of a smaller page is
smaller than the style."""

OVERSAMPLING: Final = 2
"""A page is drawn at this many times the size of the largest thumbnail, then shrunk with Lanczos,
because PDFium shrinks pictures coarsely. For a scanned page of text, the PSNR of a thumbnail of 320
pixels is then 41 dB (SSIM 0.9987) instead of 30 dB (0.9853), and it takes 17 ms instead of 12 ms.
"""

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
    """Read the fonts and make one thumbnail, so that no later job loads code or opens a file."""
    pdf_fonts.offer(fonts.installed())
    make_thumbnail(io.BytesIO(_SMALLEST))


def make_thumbnail(file: BinaryIO, edges: Sequence[int] = (THUMB_EDGE,)) -> Thumbnail:
    """Draw the first page, upright and on white, as one JPEG for each of `edges`; count the pages.

    The longer side of a JPEG has at most `edge` pixels. PDFium reads only the parts of the file
    that it needs. Raises Undecodable with `encrypted` (the file needs a password, or its encryption
    is unknown), `damaged` or `too_expensive`.
    """
    try:
        with _open(file) as document:
            pages = len(document)
            if pages < 1:
                raise Undecodable("damaged")
            drawn = _draw(_first_page(document), edges)
    except pypdfium2.PdfiumError:
        raise Undecodable("damaged") from None
    except MemoryError:
        raise Undecodable("too_expensive") from None
    return Thumbnail(
        pictures=tuple(
            Picture(
                body=encode_page(page),
                content_type="image/jpeg",
                extension="jpg",
                width=page.width,
                height=page.height,
            )
            for page in drawn
        ),
        facts=Facts(pages=pages, thumbhash=thumbhash(drawn[0])),
    )


@contextmanager
def _open(file: BinaryIO) -> Iterator[pypdfium2.PdfDocument]:
    """Open a document for the block.

    `PdfDocument(file)` is not used, because it has two faults if the document has no pages. It
    leaks the document, and it raises the error of an earlier call to PDFium.
    """
    access, held = get_bufreader(file)
    document = pdfium.FPDF_LoadCustomDocument(access, None)
    if not document:
        raise Undecodable("encrypted" if pdfium.FPDF_GetLastError() in _ENCRYPTED else "damaged")
    with pypdfium2.PdfDocument(document) as opened:
        yield opened
    del held  # PDFium needs the reader until here; this variable keeps it alive


def _first_page(document: pypdfium2.PdfDocument) -> pypdfium2.PdfPage:
    """Load the first page. Its form fields and annotations become part of its content."""
    page = document[0]
    if pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY) == pdfium.FLATTEN_SUCCESS:
        page.close()  # only a page that is loaded again has the form fields
        page = document[0]
    return page


def _draw(page: pypdfium2.PdfPage, edges: Sequence[int]) -> list[Image.Image]:
    width, height = page.get_size()  # in points, after rotation
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise Undecodable("damaged")
    scales = [min(edge / max(width, height), MAX_SCALE) for edge in edges]
    sizes = [(max(1, round(width * scale)), max(1, round(height * scale))) for scale in scales]
    columns, rows = (OVERSAMPLING * edge for edge in max(sizes))
    bitmap = pypdfium2.PdfBitmap.new_native(
        columns, rows, pdfium.FPDFBitmap_BGRx, rev_byteorder=True
    )
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, columns, rows)
    pdfium.FPDF_RenderPageBitmap(bitmap, page, 0, 0, columns, rows, 0, _FLAGS)
    drawn: Image.Image = bitmap.to_pil().convert("RGB")
    return [drawn.resize(size, Image.Resampling.LANCZOS) for size in sizes]
