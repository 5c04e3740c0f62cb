"""Parts of file formats, from which tests build files that no encoder would write."""

import struct
import zlib
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
MIB: Final = 1024 * 1024


def png_chunk(name: bytes, body: bytes = b"", *, crc: int | None = None) -> bytes:
    """Write one chunk of a PNG; `crc` replaces the correct checksum."""
    right = zlib.crc32(name + body)
    return (
        struct.pack("!I", len(body))
        + name
        + body
        + struct.pack("!I", right if crc is None else crc)
    )


def png_header(width: int, height: int, *, bits: int = 8, colour: int = 2) -> bytes:
    """Write the IHDR chunk of a PNG.

    `colour` is the PNG colour type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA.
    """
    return png_chunk(b"IHDR", struct.pack("!IIBBBBB", width, height, bits, colour, 0, 0, 0))


def png(*chunks: bytes) -> bytes:
    """Write a PNG from its signature, these chunks, and IEND."""
    return PNG_SIGNATURE + b"".join(chunks) + png_chunk(b"IEND")


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Split a valid PNG into its chunks; return their names and bodies in order."""
    chunks, at = [], len(PNG_SIGNATURE)
    while at < len(content):
        length, name = struct.unpack_from("!I4s", content, at)
        chunks.append((name, content[at + 8 : at + 8 + length]))
        at += length + 12
    return chunks


def with_png_chunks(content: bytes, added: bytes, *, before: bytes) -> bytes:
    """Insert complete chunks before the first chunk with the name `before`."""
    at = content.index(before) - 4
    return content[:at] + added + content[at:]


def deflated_zeros(mebibytes: int) -> bytes:
    """Write a zlib stream that decompresses to `mebibytes` MiB of zeros.

    Each MiB takes about 1 kB.
    """
    # This is the Adler-32 checksum of the zero bytes (RFC 1950, section 8.2).
    checksum = (mebibytes * MIB % 65521) << 16 | 1
    return b"\x78\xda" + _zero_blocks(mebibytes) + struct.pack("!I", checksum)


def gzipped_zeros(mebibytes: int) -> bytes:
    """Write a gzip file of one member that decompresses to `mebibytes` MiB of zeros.

    Compressing the zeros as a whole would take ten times as long: 5 s for 900 MiB.
    """
    checksum, zeros = 0, bytes(MIB)
    for _ in range(mebibytes):
        checksum = zlib.crc32(zeros, checksum)
    head = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff"
    ending = struct.pack("<II", checksum, mebibytes * MIB % 2**32)
    return head + _zero_blocks(mebibytes) + ending


def _zero_blocks(mebibytes: int) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflater.compress(bytes(MIB)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return block * mebibytes + b"\x03\x00"


def segment(marker: int, body: bytes) -> bytes:
    """Write one segment of a JPEG; `marker` is the marker's second byte, after FF."""
    return struct.pack("!BBH", 0xFF, marker, len(body) + 2) + body


def with_segments(content: bytes, *segments: bytes) -> bytes:
    """Insert segments directly after the first marker of a JPEG."""
    return content[:2] + b"".join(segments) + content[2:]


def bits_from_left(numbers: Iterable[tuple[int, int]]) -> bytes:
    """Pack numbers from the highest bit down, as in JPEG's entropy-coded data.

    Each pair is a number, and the number of bits that it takes. The last byte is filled up with
    ones. A zero byte is added after each byte FF.
    """
    value, length = 0, 0
    for number, bits in numbers:
        value, length = value << bits | number, length + bits
    fill = -length % 8
    packed = (value << fill | (1 << fill) - 1).to_bytes((length + fill) // 8)
    return packed.replace(b"\xff", b"\xff\x00")


def bits_from_right(numbers: Iterable[tuple[int, int]]) -> bytes:
    """Pack numbers from the lowest bit up, as WebP does.

    Each pair is a number, and the number of bits that it takes.
    """
    value, length = 0, 0
    for number, bits in numbers:
        value, length = value | number << length, length + bits
    return value.to_bytes((length + 7) // 8, "little")


def sub_blocks(content: bytes, *, size: int = 255) -> bytes:
    """Divide the data of a GIF into sub-blocks of `size` bytes (GIF89a, section 15)."""
    pieces = (content[at : at + size] for at in range(0, len(content), size))
    return b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


def gif(*blocks: bytes, width: int = 1, height: int = 1) -> bytes:
    """Write a GIF with a palette of two colours from these blocks."""
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0)
    return b"GIF89a" + screen + b"\0\0\0\xff\xff\xff" + b"".join(blocks) + b";"


def gif_frame(width: int = 1, height: int = 1) -> bytes:
    """Write a GIF frame whose header has this size, but whose data has only one pixel."""
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\0"


def riff_chunk(name: bytes, body: bytes) -> bytes:
    """Write one chunk of a RIFF file, padded to an even length."""
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def webp(*chunks: bytes) -> bytes:
    """Write a WebP file of these chunks."""
    return riff_chunk(b"RIFF", b"WEBP" + b"".join(chunks))


def webp_canvas(width: int, height: int, *, animated: bool) -> bytes:
    """Write the VP8X chunk of a WebP file. In an animation, the required ANIM chunk follows."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    canvas = riff_chunk(b"VP8X", bytes([2 if animated else 0, 0, 0, 0]) + size)
    return canvas + riff_chunk(b"ANIM", bytes(6)) if animated else canvas


def webp_frame(image: bytes, width: int = 1, height: int = 1) -> bytes:
    """Write one frame of a WebP animation at position 0,0; `image` is the chunk with its pixels."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff_chunk(b"ANMF", bytes(6) + size + bytes(4) + image)


def webp_of_one_colour(width: int, height: int) -> bytes:
    """Write a VP8L chunk of one colour. It has 20 bytes for up to 16384×16384 pixels.

    The pixels need no data, because a code with only one symbol takes no bits (RFC 9649, sections
    3.4 and 3.7.2.1).
    """
    one_symbol = [(1, 1), (0, 1), (1, 1), (0x7F, 8)]
    size = [(width - 1, 14), (height - 1, 14), (0, 1), (0, 3)]
    no_transform_cache_groups = [(0, 1)] * 3
    numbers = [*size, *no_transform_cache_groups, *one_symbol * 4, (1, 1), (0, 1), (0, 1), (0, 1)]
    return riff_chunk(b"VP8L", b"\x2f" + bits_from_right(numbers))


Entry = tuple[int, int, int, bytes]
"""One entry of a TIFF directory (IFD): tag, type, count, and the value or its offset."""


def exif(entries: Sequence[Entry], *, following: int = 0, rest: bytes = b"") -> bytes:
    """Write EXIF data with one IFD. In it, `following` is the offset of the next IFD."""
    directory = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return b"Exif\0\0" + head + directory + struct.pack("<I", following) + rest


def box(name: bytes, body: bytes) -> bytes:
    """Write a box of an ISO media file (HEIC, AVIF, MP4)."""
    return struct.pack("!I", len(body) + 8) + name + body


def tiff(width: int, height: int, strips: Sequence[bytes], *, rows: int, compression: int) -> bytes:
    """Write an RGB TIFF whose directory comes before the pixels.

    Each strip holds `rows` rows of pixels (TIFF 6.0, section 8).
    """
    numbers = struct.Struct(f"<{len(strips)}I")
    bits_at = 8 + 2 + 9 * 12 + 4
    begins_at = bits_at + 6
    counts_at = begins_at + numbers.size
    begins = accumulate(map(len, strips[:-1]), initial=counts_at + numbers.size)
    entries = (
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, bits_at),
        (259, 3, 1, compression),
        (262, 3, 1, 2),
        (273, 4, len(strips), begins_at),
        (277, 3, 1, 3),
        (278, 4, 1, rows),
        (279, 4, len(strips), counts_at),
    )
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)
    arrays = struct.pack("<3H", 8, 8, 8) + numbers.pack(*begins) + numbers.pack(*map(len, strips))
    return head + arrays + b"".join(strips)
