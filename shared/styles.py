"""What a row says of its thumbnails in each style: the column `styles`, a JSON object by style.

A style is a size of thumbnails, with a name that is a part of the key. The style `thumb` is also
named by the columns `thumbnail_name` and `resized`, as in the releases before there were others.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from shared import keys
from shared.attachments import Attachment


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What a row says of one style.

    `name` is the name in the key. It is set before the thumbnail is stored, and None if there is no
    thumbnail any more, or if it was not made because only `thumb` was cheap enough. `edge` is the
    edge that was configured. `etag` is that of the original from which the thumbnail was made: a
    release that does not know styles may have processed a newer upload. `width`, `height` and
    `etag` are None until the thumbnail is stored. Sizes are in pixels.
    """

    name: str | None = None
    edge: int | None = None
    width: int | None = None
    height: int | None = None
    etag: str | None = None


Styles = Mapping[str, Style]


def lacks(style: int, edge: int) -> str:
    """Return the SQL condition that a row with a thumbnail lacks a style with a certain edge.

    `style` and `edge` are the numbers of the parameters with the style's name and its edge, a text.
    A style that was not made, because it was too expensive, is not lacking.
    """
    said = f"a.styles -> ${style}::text"
    return f"""(a.resized AND ({said} ->> 'edge', {said} ->> 'etag')
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
        style: Style(**{name: said.get(name) for name in Style.__slots__})
        for style, said in json.loads(text).items()
    }


def write_styles(styles: Styles) -> str | None:
    """Return the value of the column `styles`: None if there is no style."""
    if not styles:
        return None
    return json.dumps(
        {
            style: {name: value for name, value in asdict(said).items() if value is not None}
            for style, said in styles.items()
        }
    )


def named_keys(row: Attachment) -> dict[str, str]:
    """Return the keys of all thumbnails that a row names, by style. Some may not be stored."""
    folder = f"{keys.PREFIX}{keys.partition(row.id)}"
    named = {
        style: f"{folder}/{style}/{said.name}"
        for style, said in read_styles(row.styles).items()
        if said.name is not None
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
    for style, said in read_styles(row.styles).items():
        if said.width is None or said.etag is None or said.etag != row.etag:
            continue
        if style == keys.THUMB and said.name != row.thumbnail_name:
            continue
        found[style] = Shown(key=named[style], width=said.width, height=said.height)
    return found


def emptied(styles: Styles) -> dict[str, Style]:
    """Return styles without thumbnails. Their names stay: versions may be left in the bucket."""
    return dict.fromkeys(styles, Style())
