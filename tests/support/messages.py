"""A strategy for file names, and functions that change or read a message."""

from typing import Any

from hypothesis import strategies as st

from shared.notifications import UploadEvent, read

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1, max_size=255
).filter(str.strip)


def places(document: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths of all members and items in a document."""
    found: list[tuple[Any, ...]] = []
    if isinstance(document, (dict, list)):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        for name, value in items:
            found += [(*before, name), *places(value, (*before, name))]
    return found


def put(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Replace the value at a path of a document."""
    inner = document
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return document


BUCKET = "b"


def the_event(document: Any) -> UploadEvent:
    """Read a message that must hold exactly one event and no fault."""
    reading = read(document, bucket=BUCKET)
    assert (reading.faults, reading.ignored) == ([], 0)
    (event,) = reading.events
    return event
