"""Files that every scanner must report: the EICAR test file, alone and in archives.

EICAR is harmless; scanners report it by agreement (https://www.eicar.org).
"""

import tarfile
from collections.abc import AsyncIterator
from typing import Final

# Written in two pieces, so that no scanner reports this source file.
EICAR: Final = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-" + b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"

MAX_DEPTH: Final = 120
"""Number of nested archives: more than clamd can be set to open (clamd.conf(5), MaxRecursion)."""

MIN_SIZE: Final = 4096
"""Minimum size, in bytes, of an archive that `large` makes."""

_BLOCK = 512
_PIECE_BYTES = 256 * 1024


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.USTAR_FORMAT)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % _BLOCK)


async def large(size: int) -> AsyncIterator[bytes]:
    """Yield a tar file of `size` bytes that contains zeros and, as its last member, EICAR.

    A scanner finds EICAR only if its limits let it read and open the whole file. `size` is at least
    MIN_SIZE. If it is not a multiple of 512, the file is up to 511 bytes shorter.
    """
    end = _header("eicar.com", len(EICAR)) + _padded(EICAR) + bytes(2 * _BLOCK)
    left = (size - len(end) - _BLOCK) // _BLOCK * _BLOCK
    yield _header("zeros", left)
    while left:
        piece = min(left, _PIECE_BYTES)
        yield bytes(piece)
        left -= piece
    yield end


def nested(depth: int) -> bytes:
    """Return `depth` tar files, each inside the next, with EICAR in the innermost."""
    content = EICAR
    for _ in range(depth):
        content = _header("inner.tar", len(content)) + _padded(content) + bytes(2 * _BLOCK)
    return content
