"""Read the size of an SVG from the first tag of its root, without parsing the rest.

If the width or the height is missing, that of the `viewBox` is used, as resvg does. Nothing is
decoded. The numbers may be wrong, so they are only shown, and never used.
"""

import math
import re
from typing import Final

_ROOT: Final = re.compile(rb"<(?:[\w.-]{1,40}:)?svg(\s[^<>]{0,8192})>", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(rb"\s(width|height|viewBox)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_LENGTH: Final = re.compile(
    rb"\s*([0-9]{0,20}(?:\.[0-9]{0,20})?(?:[eE][+-]?[0-9]{1,3})?)([a-z%]*)\s*"
)

_UNITS: Final = {
    b"": 1.0,
    b"px": 1.0,
    b"pt": 96 / 72,
    b"pc": 16.0,
    b"in": 96.0,
    b"cm": 96 / 2.54,
    b"mm": 96 / 25.4,
}
"""CSS pixels in one unit (CSS Values and Units 4, section 6.2)."""


def svg_size(head: bytes) -> tuple[int, int] | None:
    """Return width and height in CSS pixels; None if the root tag has no size.

    Reads ASCII-compatible encodings only.
    """
    root = _ROOT.search(head)
    if root is None:
        return None
    found = {name: one or other for name, one, other in _ATTRIBUTE.findall(root[1])}
    width, height = (_length(found.get(name)) for name in (b"width", b"height"))
    across, down = _view_box(found.get(b"viewBox")) or (None, None)
    width, height = width or across, height or down
    if width is None or height is None or max(width, height) >= 2**31:
        return None
    return max(1, math.floor(width + 0.5)), max(1, math.floor(height + 0.5))


def _length(text: bytes | None) -> float | None:
    """Return a length in CSS pixels; None if it is missing or its unit depends on the page."""
    match = _LENGTH.fullmatch(text or b"")
    if match is None or match[2] not in _UNITS:
        return None
    try:
        return float(match[1]) * _UNITS[match[2]]
    except ValueError:  # no digit
        return None


def _view_box(text: bytes | None) -> tuple[float, float] | None:
    """Return the width and height of a `viewBox`; None if it is not a box with an area."""
    try:
        _, _, width, height = (float(each) for each in re.split(rb"[\s,]+", (text or b"").strip()))
    except ValueError:
        return None
    return (width, height) if 0 < width < 2**31 and 0 < height < 2**31 else None
