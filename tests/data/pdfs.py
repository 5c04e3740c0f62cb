"""Valid, unusual and broken PDFs for tests. The code writes each PDF object by object."""

import hashlib
import struct
from typing import Final

PAGE: Final = (595, 842)
"""Width and height of an A4 page, in points."""

QUADRANTS: Final = b"""1 0 0 rg 0 421 297.5 421 re f 0 1 0 rg 297.5 421 297.5 421 re f
0 0 1 rg 0 0 297.5 421 re f"""
"""Content of a page: red and green above, blue on the lower left, nothing on the lower right."""

_PADDING: Final = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
"""The bytes that fill up a password (PDF 1.7, algorithm 3.2)."""


def write(objects: dict[int, bytes], *, trailer: bytes = b"") -> bytes:
    """Write a PDF with these numbered objects and a cross-reference table.

    Object 1 is the catalogue.
    """
    body, places = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", {}
    for number, content in objects.items():
        places[number] = len(body)
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(
        b"%010d 00000 n \n" % places[number] if number in places else b"%010d 65535 f \n" % 0
        for number in range(max(objects) + 1)
    )
    return body + b"xref\n0 %d\n%strailer\n<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (
        max(objects) + 1,
        table,
        max(objects) + 1,
        trailer,
        len(body),
    )


def stream(content: bytes, entries: bytes = b"") -> bytes:
    """Write a stream object with these dictionary entries."""
    return b"<</Length %d%s>>\nstream\n%s\nendstream" % (len(content), entries, content)


def _objects(
    *,
    box: str = f"0 0 {PAGE[0]} {PAGE[1]}",
    content: bytes = QUADRANTS,
    entries: bytes = b"",
    pages: int = 1,
) -> dict[int, bytes]:
    kids = b" ".join([b"3 0 R", *(b"%d 0 R" % (4 + number) for number in range(1, pages))])
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[%s]" % box.encode()
    return {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, pages),
        3: page + b"/Contents 4 0 R%s>>" % entries,
        4: stream(content),
        **{4 + number: page + b">>" for number in range(1, pages)},
    }


def plain(
    *,
    box: str = f"0 0 {PAGE[0]} {PAGE[1]}",
    content: bytes = QUADRANTS,
    entries: bytes = b"",
    pages: int = 1,
) -> bytes:
    """Write a document whose first page has this media box, content and further entries."""
    return write(_objects(box=box, content=content, entries=entries, pages=pages))


def see_through() -> bytes:
    """Write a page whose right half is red with 50 % opacity. The left half is empty."""
    return plain(
        content=b"/half gs 1 0 0 rg 297.5 0 297.5 842 re f",
        entries=b"/Group<</S/Transparency/CS/DeviceRGB>>"
        b"/Resources<</ExtGState<</half<</ca .5>>>>>>",
    )


def with_form() -> bytes:
    """Write a document whose form has a script that runs when a viewer opens the file.

    The form's only field has a green appearance, which covers the page.
    """
    objects = _objects(content=b"", entries=b"/Annots[5 0 R]")
    objects[1] = (
        b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[5 0 R]/XFA(broken)>>"
        b"/OpenAction<</S/JavaScript/JS(app.alert\\(1\\); while \\(true\\);)>>>>"
    )
    objects[5] = (
        b"<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/V(x)/F 4/Rect[0 0 595 842]/AP<</N 6 0 R>>>>"
    )
    objects[6] = stream(
        b"0 1 0 rg 0 0 595 842 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 595 842]"
    )
    return write(objects)


def text() -> bytes:
    """Write a page with black and red lines in Helvetica. The file does not embed the font."""
    lines = [
        b"%s rg 1 0 0 1 72 %d Tm (What people send is mostly like this, line %d of a page) Tj"
        % (b"0.8 0 0" if number % 7 == 0 else b"0 0 0", 770 - 16 * number, number)
        for number in range(42)
    ]
    return plain(
        content=b"BT /F 14 Tf " + b"\n".join(lines) + b" ET",
        entries=b"/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>",
    )


def with_font(font: bytes, shown: bytes, **further: bytes) -> bytes:
    """Write a page that shows a string in a font. `font` has the entries of its dictionary.

    `further` are the objects to which the entries refer. Their names are `o6`, `o7` and so on.
    """
    objects = _objects(
        box="0 0 400 100",
        content=b"BT /F 40 Tf 20 30 Td %s Tj ET" % shown,
        entries=b"/Resources<</Font<</F 5 0 R>>>>",
    )
    objects[5] = b"<</Type/Font%s>>" % font
    return write(objects | {int(name[1:]): body for name, body in further.items()})


def without_pages() -> bytes:
    """Write a document without pages."""
    return write({1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Kids[]/Count 0>>"})


def looping() -> bytes:
    """Write a page tree of two nodes. Each node is the child of the other node."""
    return write(
        {
            1: b"<</Type/Catalog/Pages 2 0 R>>",
            2: b"<</Type/Pages/Parent 3 0 R/Kids[3 0 R]/Count 5>>",
            3: b"<</Type/Pages/Parent 2 0 R/Kids[2 0 R]/Count 5>>",
        }
    )


def _rc4(key: bytes, content: bytes) -> bytes:
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out, i, j = bytearray(), 0, 0
    for byte in content:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def _md5(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


def encrypted(password: bytes) -> bytes:
    """Encrypt a document with 40-bit RC4 (PDF 1.7, section 3.5).

    If the password is empty, every reader can open the document.
    """
    padded = (password + _PADDING)[:32]
    owner = _rc4(_md5((b"owner" + _PADDING)[:32])[:5], padded)
    permissions = struct.pack("<i", -4)
    key = _md5(padded + owner + permissions + b"id")[:5]
    user = _rc4(key, _PADDING)
    objects = _objects()
    # An object's key depends on the object's number, 4, and on its generation, 0 (algorithm 3.1).
    of_object = _md5(key + (4).to_bytes(3, "little") + bytes(2))[:10]
    objects[4] = stream(_rc4(of_object, QUADRANTS))
    objects[5] = b"<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>" % (
        owner.hex().encode(),
        user.hex().encode(),
    )
    return write(objects, trailer=b"/Encrypt 5 0 R/ID[<6964><6964>]")


def locked_unknown() -> bytes:
    """Write a document with an encryption filter that no reader supports."""
    objects = _objects()
    objects[5] = b"<</Filter/Unheard.Of/V 99/R 99>>"
    return write(objects, trailer=b"/Encrypt 5 0 R/ID[<6964><6964>]")
