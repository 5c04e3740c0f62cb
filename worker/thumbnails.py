"""Write thumbnails to the store and remove outdated ones.

Every thumbnail in the store is named in a row, even after a crash.
"""

from collections.abc import Collection
from dataclasses import replace

from shared import keys, lifecycle, older_objects
from shared.attachments import Attachment
from shared.caching import PRIVATE_FILE, PUBLIC_FILE
from shared.errors import ClaimLost, StoreUnavailable
from shared.facts import Picture, Thumbnail
from shared.lifecycle import Claim, Outcome
from shared.storage import Storage
from shared.store_limits import store_limit
from shared.styles import Style, Styles, emptied, named_keys, read_styles
from worker.tools import Tools


async def store_thumbnail(
    tools: Tools, claim: Claim, thumbnail: Thumbnail, outcome: Outcome
) -> Outcome:
    """Write a thumbnail in all its styles; return the outcome with their names and facts.

    The names are written to the row first. So the row always names the objects, even if this worker
    dies. May be repeated. Raises ClaimLost if another worker holds the upload, and StoreError.
    """
    row, lease_s, edges = claim.attachment, tools.settings.lease, tools.settings.edges
    # if only `thumb` was made, the other styles were too expensive
    made = dict(zip(edges, thumbnail.pictures, strict=False))
    to_write = {
        style: (keys.style_key(row.key, style, picture.extension), picture)
        for style, picture in made.items()
    }
    await drop_thumbnails(tools.storage, row, kept=[key for key, _ in to_write.values()])
    styles = {
        style: Style(
            name=key.rsplit("/", 1)[-1],
            edge=edges[style],
            width=picture.width,
            height=picture.height,
            etag=outcome.etag,
        )
        for style, (key, picture) in to_write.items()
    }
    name = styles[keys.THUMB].name
    assert name is not None
    announced = _announced(row, styles)
    if not await tools.database.run(
        lifecycle.announce_thumbnail, claim, name, announced, lease_s=lease_s
    ):
        raise ClaimLost(str(row.id))
    try:
        # The writes must end before the lease does. A later write could overwrite the thumbnail of
        # the worker that claims the upload next. For the same reason the writes run one after
        # the other: when one has failed, no other one is still running.
        async with store_limit(lease_s * 0.8):
            for key, picture in to_write.values():
                await _write(tools, key, picture)
    except TimeoutError:
        raise StoreUnavailable("the thumbnail could not be written within the lease") from None
    not_made = {
        style: Style(edge=edge, etag=outcome.etag)
        for style, edge in edges.items()
        if style not in made
    }
    return replace(
        outcome.joined(thumbnail.facts),
        thumbnail_name=name,
        styles={**announced, **styles, **not_made},
        reason=thumbnail.reason,
    )


def _announced(row: Attachment, styles: Styles) -> Styles:
    """Return the styles for the row while the thumbnails are being stored.

    If the row has no style with the same name and edge, the style is written without a size, so it
    is not shown yet. If the row has one, that one is kept: it is shown if it was made from the
    current upload. Styles that are no longer made are written without a thumbnail.
    """
    before = read_styles(row.styles)
    return {
        **emptied(before),
        **{
            style: before[style]
            if style in before and (before[style].name, before[style].edge) == (new.name, new.edge)
            else Style(name=new.name, edge=new.edge)
            for style, new in styles.items()
        },
    }


async def _write(tools: Tools, key: str, picture: Picture) -> None:
    await tools.storage.write(
        key,
        picture.body,
        content_type=picture.content_type,
        cache_control=PUBLIC_FILE if tools.settings.files_public else PRIVATE_FILE,
    )


async def drop_thumbnails(storage: Storage, row: Attachment, *, kept: Collection[str] = ()) -> None:
    """Remove the thumbnails of an earlier revision, except those at the keys `kept`.

    May be repeated. A thumbnail that is older than the row, or in another bucket, belongs to
    another row and is kept.
    """
    if row.bucket == storage.bucket:
        for key in named_keys(row).values():
            if key not in kept:
                await older_objects.delete_own(storage, key, row)
