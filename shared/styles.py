"""The thumbnails of an attachment in each style, as its row stores them in the column `styles`.

The column is a JSON object with one member for each style. A style is a size of thumbnails, with a
name that is a part of the key. For the style `thumb`, the row also has the columns `thumbnail_name`
and `resized`. Earlier releases have only these two columns.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from shared import keys
from shared.attachments import Attachment


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """The thumbnail of an attachment in one style, as the row stores it.

    `name` is the name in the key. It is set before the thumbnail is stored, and None if there is no
    thumbnail any more, or if it was not made because only `thumb` was cheap enough. `edge` is the
    edge that was configured. `etag` is the one of the original from which the thumbnail was made.
    It may differ from that of the row, because an earlier release does not update it. `width`,
    `height` and `etag` are None until the thumbnail is stored. Sizes are in pixels.
    """

    name: str | None = None
    edge: int | None = None
    width: int | None = None
    height: int | None = None
    etag: str | None = None


Styles = Mapping[str, Style]


def lacks(style: int, edge: int) -> str:
    """Return the SQL condition that a row has a thumbnail, but not in a style with a certain edge.

    `style` and `edge` are the numbers of two SQL parameters: the style's name, and its edge as a
    text. A style that was not made because it was too expensive does not count as lacking.
    """
    stored = f"a.styles -> ${style}::text"
    return f"""(a.resized AND ({stored} ->> 'edge', {stored} ->> 'etag')
                IS DISTINCT FROM (${edge}::text, a.etag))"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A thumbnail that clients may open. The size is None if an earlier release made it."""

    key: str
    width: int | None
    height: int | None


def read_styles(text: str | None) -> dict[str, Style]:
    """Return the styles in the column `styles`. Members that a later release adds are ignored."""
    if text is None:
        return {}
    return {
        style: Style(**{name: stored.get(name) for name in Style.__slots__})
        for style, stored in json.loads(text).items()
    }


def write_styles(styles: Styles) -> str | None:
    """Return the value of the column `styles`: None if there is no style."""
    if not styles:
        return None
    return json.dumps(
        {
            style: {name: value for name, value in asdict(stored).items() if value is not None}
            for style, stored in styles.items()
        }
    )


def named_keys(row: Attachment) -> dict[str, str]:
    """Return the keys of all thumbnails that a row names, by style. Some may not be stored."""
    folder = f"{keys.PREFIX}{keys.partition(row.id)}"
    named = {
        style: f"{folder}/{style}/{stored.name}"
        for style, stored in read_styles(row.styles).items()
        if stored.name is not None
    }
    return named if row.thumbnail_key is None else {**named, keys.THUMB: row.thumbnail_key}


def shown_thumbnails(row: Attachment) -> dict[str, Shown]:
    """Return the thumbnails of the current upload that are stored, by style; `thumb` is first."""
    if not row.resized or row.thumbnail_key is None:
        return {}
    found = {keys.THUMB: Shown(key=row.thumbnail_key, width=None, height=None)}
    if row.styles is None:
        return found
    named = named_keys(row)
    for style, stored in read_styles(row.styles).items():
        if stored.width is None or stored.etag is None or stored.etag != row.etag:
            continue
        if style == keys.THUMB and stored.name != row.thumbnail_name:
            continue
        found[style] = Shown(key=named[style], width=stored.width, height=stored.height)
    return found


def emptied(styles: Styles) -> dict[str, Style]:
    """Return the same styles, but without thumbnails.

    The names of the styles are kept, because the bucket may still have versions of their objects.
    """
    return dict.fromkeys(styles, Style())
