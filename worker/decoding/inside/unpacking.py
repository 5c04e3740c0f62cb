"""Unpack the preview picture of a document. Only the simplest and oldest formats pass.

The picture comes from inside another file, where a client may hide any format. So only JPEG, PNG,
GIF and BMP are decoded, even if the worker decodes other formats in uploads. This runs only inside
the sandbox.
"""

import io
import struct
import zlib
from typing import BinaryIO, Final

from shared.errors import Undecodable

MAX_UNPACKED_BYTES: Final = 16 * 1024 * 1024
"""Maximum size of an unpacked preview, in bytes. A BMP of 1920×1080 pixels has 8 MB."""

_STARTS: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")


def unpack(file: BinaryIO, packing: str) -> BinaryIO:
    """Return the picture in a file, unpacked in memory; `packing` is one of `worker.packing`.

    Raises Undecodable: `too_expensive` if it is too long, `damaged` if it cannot be inflated or is
    cut off, and `unsupported` if it is in no accepted format.
    """
    body = file.read(MAX_UNPACKED_BYTES + 1)
    if packing == "deflated":
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            body = inflater.decompress(body, MAX_UNPACKED_BYTES + 1)
        except zlib.error:
            raise Undecodable("damaged") from None
        if not inflater.eof and len(body) <= MAX_UNPACKED_BYTES:
            raise Undecodable("damaged")
    elif packing == "dib":
        body = _with_file_header(body)
    if len(body) > MAX_UNPACKED_BYTES:
        raise Undecodable("too_expensive")
    if not body.startswith(_STARTS):
        raise Undecodable("unsupported")
    return io.BytesIO(body)


def _with_file_header(body: bytes) -> bytes:
    """Return a DIB as a BMP: with a file header, which gives the offset of the pixels.

    Source: Microsoft's documentation of BITMAPCOREHEADER, BITMAPINFOHEADER and BITMAPFILEHEADER.
    """
    if len(body) < 40:
        raise Undecodable("damaged")
    (header,) = struct.unpack_from("<I", body)
    if header == 12:
        (bits,) = struct.unpack_from("<H", body, 10)
        between = 3 << bits if bits <= 8 else 0
    else:
        bits, compression = struct.unpack_from("<HI", body, 14)
        (colours,) = struct.unpack_from("<I", body, 32)
        between = 4 * (colours or 1 << bits) if bits <= 8 else 4 * colours
        if header == 40:
            between += {3: 12, 6: 16}.get(compression, 0)  # length of the colour masks
    if not header <= header + between < len(body):
        raise Undecodable("damaged")
    return struct.pack("<2sIHHI", b"BM", 14 + len(body), 0, 0, 14 + header + between) + body
