"""Random changes of valid files, as fuzzers make them.

A changed file differs only at few positions from a file that decoders can read.
"""

import string
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Final

from tests.data.seeds import seed

ODD_BYTES: Final = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)
ODD_NUMBERS: Final = (0, 1, 0x7F, 0x80, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def _flip(content: bytearray, random: Random) -> None:
    for _ in range(random.randint(1, 16)):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)


def _set_byte(content: bytearray, random: Random) -> None:
    content[random.randrange(len(content))] = random.choice(ODD_BYTES)


def _set_number(content: bytearray, random: Random) -> None:
    order = random.choice(("<", ">"))
    at = random.randrange(max(1, len(content) - 4))
    content[at : at + 4] = struct.pack(order + "I", random.choice(ODD_NUMBERS))


def _cut_off(content: bytearray, random: Random) -> None:
    del content[random.randint(1, len(content)) :]


def _cut_out(content: bytearray, random: Random) -> None:
    at = random.randrange(len(content))
    del content[at : at + random.randint(1, 200)]
    content[:] = content or b"\0"


def _repeat(content: bytearray, random: Random) -> None:
    at = random.randrange(len(content))
    content[at:at] = content[at : at + random.randint(1, 200)] * random.randint(1, 20)


def _insert_junk(content: bytearray, random: Random) -> None:
    at = random.randrange(len(content))
    content[at:at] = random.randbytes(random.randint(1, 200))


def _splice(content: bytearray, random: Random) -> None:
    # The inserted bytes come from another format, or from another position of the same format.
    other = seed(random.choice(("jpg", "progressive.jpg", "png", "gif", "webp", "pdf")))
    start = random.randrange(len(other))
    at = random.randrange(len(content))
    content[at:] = other[start : start + random.randint(1, 2000)]


def _insert_chunk(content: bytearray, random: Random) -> None:
    """Insert a chunk, segment or block that is valid in the file's format and at its position.

    In files other than PNG, JPEG, WebP and GIF, insert an ISO box at a random position.
    """
    body = random.randbytes(random.randint(0, 100))
    name = "".join(random.choices(string.ascii_letters, k=4)).encode()
    if content.startswith(b"\x89PNG"):
        added = struct.pack("!I", len(body)) + name + body
        at, added = 33, added + struct.pack("!I", zlib.crc32(name + body))
    elif content.startswith(b"\xff\xd8"):
        marker = random.randrange(0xC0, 0xFF)
        at, added = 2, struct.pack("!BBH", 0xFF, marker, len(body) + 2) + body
    elif content.startswith(b"RIFF"):
        added = name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
        at = 12
    elif content.startswith(b"GIF8"):
        kind = random.choice((0x01, 0xF9, 0xFE, 0xFF))
        at, added = len(content) - 1, bytes([0x21, kind, len(body)]) + body + b"\0"
    else:
        at, added = random.randrange(len(content)), struct.pack("!I", len(body) + 8) + name + body
    content[at:at] = added


CHANGES: Final[tuple[Callable[[bytearray, Random], None], ...]] = (
    _flip,
    _set_byte,
    _set_number,
    _cut_off,
    _cut_out,
    _repeat,
    _insert_junk,
    _splice,
    _insert_chunk,
)


def mutated(name: str, number: int) -> bytes:
    """Return a valid file of a format with one to four random changes; `number` is the seed."""
    random = Random(f"{name} {number}")
    content = bytearray(seed(name))
    for _ in range(random.randint(1, 4)):
        random.choice(CHANGES)(content, random)
    return bytes(content)
