"""Functions that prepare rows of the database with a million attachments, and use the rows."""

from collections.abc import Awaitable, Callable
from typing import Any

from shared import (
    attachments,
    copies,
    dead_letters,
    tokens,
)
from shared.attachments import Attachment
from shared.lifecycle import Claim
from shared.notifications import UploadEvent
from tests.support.million import (
    BIG,
    BUCKET,
    PROCESSING,
    READY,
    ROWS,
    USUAL,
)

WANTED = copies.Wanted(bucket=BUCKET, key="k", etag="e", temp_url="t")


async def row_of(connection: Any, attachment_id: int) -> Attachment:
    """Return the row of an attachment that exists."""
    found = await attachments.find_any(connection, attachment_id)
    assert found is not None
    return found


async def held(connection: Any) -> Claim:
    """Return a worker's claim on the attachment `PROCESSING`."""
    return Claim(attachment=await row_of(connection, PROCESSING))


async def seen(connection: Any) -> Attachment:
    """Return the row of the attachment `READY`."""
    return await row_of(connection, READY)


def sent(attachment_id: int, **more: Any) -> UploadEvent:
    """Make an upload event for the attachment with this id."""
    key = f"attachments/files/000/000/{attachment_id:03}/original/img.png"
    return UploadEvent(bucket=BUCKET, key=key, **more)


async def ask_copy(connection: Any, row: Attachment) -> Any:
    """Request a copy into an attachment whose processing has ended."""
    return await copies.ask(connection, row, WANTED, grace_s=15)


async def with_copy(connection: Any, function: Callable[[Attachment], Awaitable[Any]]) -> Any:
    """Request a copy into an attachment, and call a function with the attachment's row."""
    return await function(await ask_copy(connection, await seen(connection)))


async def with_heavy_letters(connection: Any, function: Callable[[], Awaitable[Any]]) -> Any:
    """Call a function while the dead letters of one origin hold more bytes than the limit."""
    await connection._connection.execute(
        "UPDATE dead_letter_origins SET bytes = 2 * $1 WHERE origin = 'o1'",
        dead_letters.MAX_ORIGIN_BYTES,
    )
    return await function()


async def with_claim(connection: Any, function: Callable[[Claim], Awaitable[Any]]) -> Any:
    """Call a function with a worker's claim on the attachment `PROCESSING`."""
    return await function(await held(connection))


async def with_row(connection: Any, function: Callable[[Attachment], Awaitable[Any]]) -> Any:
    """Call a function with the row of an attachment whose processing has ended."""
    return await function(await seen(connection))


async def with_backlog(connection: Any, function: Callable[[], Awaitable[Any]]) -> Any:
    """Call a function while a hundred thousand rows of one organization are due."""
    await connection._connection.execute(
        "UPDATE attachments SET due_at = now() - interval '1 hour'"
        f" WHERE organization_id = {BIG} AND id > {ROWS // 2}"
    )
    return await function()


async def with_waiting(connection: Any, function: Callable[[], Awaitable[Any]]) -> Any:
    """Call a function while eleven thousand uploads wait to be processed."""
    await connection._connection.execute(
        "UPDATE attachments SET state = 'uploaded', claimed_revision = 0"
        " WHERE deleted_at IS NULL AND id % 70 = 0"
    )
    return await function()


async def find_new_caller(connection: Any) -> Any:
    """Create a token, and find the caller of this token."""
    token = await tokens.create_token(connection, USUAL, "new")
    return await tokens.find_caller(connection, tokens.digest(token))


async def with_thumbnails(connection: Any, function: Callable[[list[int]], Awaitable[Any]]) -> Any:
    """Give five ready attachments a thumbnail, and call a function with their ids."""
    rows = await connection.fetch(
        "UPDATE attachments AS a SET resized = true, thumbnail_name = 'a' WHERE a.id = ANY($1)"
        " AND a.state = 'ready' AND a.deleted_at IS NULL RETURNING a.id",
        list(range(READY, READY + 8)),
    )
    return await function([row["id"] for row in rows])
