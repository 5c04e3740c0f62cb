"""Read the size of a JPEG XL from its first bytes (ISO/IEC 18181-1, 9.1 to 9.3; 18181-2, 9)."""

from typing import Final

from worker.sniffing.tiff_tags import Size

_CODESTREAM: Final = b"\xff\x0a"
_MAX_BOXES: Final = 50
_RATIOS: Final = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_HEADER_BYTES: Final = 16


def jxl_size(head: bytes) -> Size | None:
    """Return the width and height of the upright image; None if `head` does not have the header."""
    at = 0 if head.startswith(_CODESTREAM) else _find_codestream(head)
    if at is None or not head.startswith(_CODESTREAM, at):
        return None
    bits = _Bits(head[at + 2 : at + 2 + _HEADER_BYTES])
    in_eighths = bits.read(1)
    height = _edge(bits, in_eighths)
    ratio = bits.read(3)
    if ratio:
        numerator, denominator = _RATIOS[ratio - 1]
        width = height * numerator // denominator
    else:
        width = _edge(bits, in_eighths)
    all_default = bits.read(1)
    orientation = 1 + bits.read(3) if not all_default and bits.read(1) else 1
    return (height, width) if orientation >= 5 else (width, height)


def _find_codestream(head: bytes) -> int | None:
    """Return the offset of the codestream, or of its first part, among the boxes of a file."""
    at = 0
    for _ in range(_MAX_BOXES):
        length, name = int.from_bytes(head[at : at + 4], "big"), head[at + 4 : at + 8]
        body = at + 8
        if length == 1:
            length, body = int.from_bytes(head[at + 8 : at + 16], "big"), at + 16
        if name == b"jxlc":
            return body
        if name == b"jxlp":
            return body + 4  # after the number of the part
        if length < body - at:
            return None
        at += length
    return None


class _Bits:
    """Reads numbers from bytes, the lowest bit first. Raises IndexError at the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        """Return the next `count` bits as a number."""
        self._left -= count
        if self._left < 0:
            raise IndexError("the header is cut off")
        number = self._value & ((1 << count) - 1)
        self._value >>= count
        return number


def _edge(bits: _Bits, in_eighths: int) -> int:
    if in_eighths:
        return 8 * (1 + bits.read(5))
    return 1 + bits.read((9, 13, 18, 30)[bits.read(2)])
