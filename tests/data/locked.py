"""PDFs whose first page cannot be shown or is costly to draw: locked, recursive or empty.

The files belong to row 85 of limits.md: the service stores each of them unchanged.
"""

import zlib
from collections.abc import Callable
from typing import Final

from tests.data import pdfs
from tests.data.pieces import deflated_zeros
from tests.data.sample import Outcome, Sample, ready

BROKEN: Final = ready("damaged")
LOCKED: Final = ready("encrypted")
SHOWN: Final = ready(None)
COSTLY: Final = ready(None, "damaged", "too_expensive")


def _with_object(content: bytes, resources: bytes, *added: bytes) -> bytes:
    """Write a page with this content.

    Its resources refer to the added objects, whose numbers begin at 5.
    """
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R/Resources<<%s>>>>"
    return pdfs.write(
        {
            1: b"<</Type/Catalog/Pages 2 0 R>>",
            2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            3: page % resources,
            4: pdfs.stream(content),
            **dict(enumerate(added, 5)),
        }
    )


def calling_itself() -> bytes:
    """Write a page with a form XObject that draws itself twice."""
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 200 200]/Resources<</XObject<</F 5 0 R>>>>"
    return _with_object(b"/F Do", b"/XObject<</F 5 0 R>>", pdfs.stream(b"/F Do /F Do", form))


def multiplying(depth: int) -> bytes:
    """Write a page of nested form XObjects.

    Each XObject draws the next one ten times, so the page draws 10 to the power of `depth`
    rectangles.
    """
    forms = [
        pdfs.stream(
            b"/F Do " * 10 if number < depth else b"0 0 9 9 re f",
            b"/Type/XObject/Subtype/Form/BBox[0 0 200 200]/Resources<</XObject<</F %d 0 R>>>>"
            % (6 + number),
        )
        for number in range(depth + 1)
    ]
    return _with_object(b"/F Do", b"/XObject<</F 5 0 R>>", *forms)


def inflating(mebibytes: int) -> bytes:
    """Write a page whose content decompresses to `mebibytes` MiB of zeros.

    PDF reads zeros as white space.
    """
    objects = pdfs.stream(deflated_zeros(mebibytes), b"/Filter/FlateDecode")
    return pdfs.plain().replace(pdfs.stream(pdfs.QUADRANTS), objects)


def of_a_large_picture() -> bytes:
    """Write a page with a picture of 900 megapixels, but with almost no data."""
    entries = b"/Type/XObject/Subtype/Image/Width 30000/Height 30000/BitsPerComponent 8" + (
        b"/ColorSpace/DeviceRGB/Filter/FlateDecode"
    )
    picture = pdfs.stream(zlib.compress(bytes(1000)), entries)
    return _with_object(b"200 0 0 200 0 0 cm /P Do", b"/XObject<</P 5 0 R>>", picture)


def nested(depth: int) -> bytes:
    """Write a document whose catalogue holds an array that is nested `depth` levels deep."""
    return pdfs.plain().replace(b"/Catalog", b"/Catalog/X" + b"[" * depth + b"]" * depth)


def _document(title: str, draw: Callable[[], bytes], allowed: frozenset[Outcome]) -> Sample:
    return Sample(
        row=85,
        title=f"pdf-{title}",
        draw=draw,
        file_name="document.pdf",
        allowed=allowed,
        content_types=frozenset({"application/pdf"}),
    )


SAMPLES: tuple[Sample, ...] = (
    _document("encrypted", lambda: pdfs.encrypted(b"4711"), LOCKED),
    _document("encrypted-by-no-password", lambda: pdfs.encrypted(b""), SHOWN),
    _document("encrypted-in-an-unknown-way", pdfs.locked_unknown, LOCKED),
    _document("looping", pdfs.looping, BROKEN),
    _document("of-0-pages", pdfs.without_pages, BROKEN),
    _document(
        "of-2^31-pages",
        lambda: pdfs.plain().replace(b"/Count 1", b"/Count 2147483647"),
        SHOWN | BROKEN,
    ),
    _document("of-5000-pages", lambda: pdfs.plain(pages=5000), SHOWN),
    _document(
        "without-catalogue",
        lambda: pdfs.plain().replace(b"/Root 1 0 R", b"/Root 9 0 R"),
        SHOWN | BROKEN,
    ),
    _document(
        "of-a-table-that-follows-itself",
        lambda: pdfs.write({1: b"<</Type/Catalog/Pages 2 0 R>>"}, trailer=b"/Prev 15"),
        BROKEN,
    ),
    _document("sign-alone", lambda: b"%PDF-1.7\n", BROKEN),
    _document("of-a-page-of-no-size", lambda: pdfs.plain(box="0 0 0 0"), SHOWN | BROKEN),
    _document(
        "of-a-page-of-10^9", lambda: pdfs.plain(box="0 0 1000000000 1000000000"), SHOWN | BROKEN
    ),
    _document(
        "of-a-page-as-thin-as-a-hair", lambda: pdfs.plain(box="0 0 0.001 100000"), SHOWN | BROKEN
    ),
    _document("of-a-page-of-text", lambda: pdfs.plain(box="a b c d"), SHOWN | BROKEN),
    _document("calling-itself", calling_itself, COSTLY),
    _document("multiplying", lambda: multiplying(5), COSTLY),
    _document("inflating-to-100-MiB", lambda: inflating(100), COSTLY),
    _document("of-a-picture-of-900-megapixels", of_a_large_picture, COSTLY),
    _document("nested-100000-times", lambda: nested(100_000), SHOWN | BROKEN),
    _document("that-runs-a-script", pdfs.with_form, SHOWN),
)
