"""A Hypothesis strategy for file names, and functions that read or change a JSON message."""

from typing import Any

from hypothesis import strategies as st

from shared.notifications import UploadEvent, read

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1, max_size=255
).filter(str.strip)


def places(document: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every member and item in a JSON document.

    A path is a tuple of names and indexes.
    """
    found: list[tuple[Any, ...]] = []
    if isinstance(document, (dict, list)):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        for name, value in items:
            found += [(*before, name), *places(value, (*before, name))]
    return found


def put(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Replace the value at a path of a JSON document, and return the document."""
    inner = document
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return document


BUCKET = "b"


def the_event(document: Any) -> UploadEvent:
    """Parse a message, and return its only event; assert that nothing in the message is faulty or
    ignored.
    """
    reading = read(document, bucket=BUCKET)
    assert (reading.faults, reading.ignored) == ([], 0)
    (event,) = reading.events
    return event
