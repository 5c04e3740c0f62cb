"""A set of ids of attachments that takes little memory."""

from typing import Final

CHUNK: Final = 4096
"""Ids per chunk. A chunk takes memory only if an id of it is in the set."""


class IdSet:
    """A set of ids that takes one bit per id, stored in chunks."""

    def __init__(self) -> None:
        self._chunks: dict[int, bytearray] = {}

    def add(self, number: int) -> None:
        """Add an id."""
        chunk, bit = divmod(number, CHUNK)
        bits = self._chunks.setdefault(chunk, bytearray(CHUNK // 8))
        bits[bit // 8] |= 1 << bit % 8

    def __contains__(self, number: int) -> bool:
        chunk, bit = divmod(number, CHUNK)
        bits = self._chunks.get(chunk)
        return bits is not None and bool(bits[bit // 8] >> bit % 8 & 1)
