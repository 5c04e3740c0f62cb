"""Functions that identify a file's type, and record which byte ranges of the file are requested."""

from collections.abc import Callable
from typing import TypeVar

from shared import content_types
from tests.data.writing import HEAD
from worker.sniffing.identify import identify
from worker.sniffing.ranges import RANGE_BYTES, PartialFile, Reading

MAX_RANGES = 3
MAX_RANGE_BYTES = HEAD + 22
MAX_LARGE_RANGE_BYTES = 4 * 1024 * 1024


def measure(
    content: bytes,
    head_bytes: int = HEAD,
    *,
    size: int | None = None,
    answer: Callable[[int, int], bytes] | None = None,
) -> tuple[str, list[tuple[int, int]]]:
    """Identify a file as the worker does. Return the type and the byte ranges that were requested.

    `size` is the size that the store reports; the default is the size of `content`. `answer`
    returns the bytes that the store sends for a range; the default is the range of `content`.
    """
    head = content[:head_bytes]
    end_of_file = len(content) if size is None else size
    asking, asked = identify(PartialFile(head, end_of_file)), []
    try:
        start, end = next(asking)
        while True:
            assert len(head) <= start < end <= end_of_file
            asked.append((start, end))
            lengths = sorted(end - start for start, end in asked)
            assert lengths[-1] <= MAX_LARGE_RANGE_BYTES
            assert len(lengths) <= MAX_RANGES + 1
            assert max(lengths[:-1], default=0) <= MAX_RANGE_BYTES
            start, end = asking.send(answer(start, end) if answer else content[start:end])
    except StopIteration as named:
        found: str = named.value
    assert content_types.is_well_formed(found)
    return found, asked


Found = TypeVar("Found")


def drive_reading(reading: Reading[Found], content: bytes) -> tuple[Found, list[tuple[int, int]]]:
    """Run `reading` on a file; return what it finds, and the byte ranges that it requests."""
    asked = []
    try:
        start, end = next(reading)
        while True:
            asked.append((start, end))
            start, end = reading.send(content[start:end])
    except StopIteration as ended:
        found: Found = ended.value
    return found, asked


def read_container(
    identify: Callable[[PartialFile], Reading[Found]], content: bytes, head_bytes: int = RANGE_BYTES
) -> Found:
    """Identify a container format, such as ZIP. Every requested byte range is served."""
    return drive_reading(identify(PartialFile(content[:head_bytes], len(content))), content)[0]
