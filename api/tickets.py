"""The status of one attachment, for a page that has its signed address (a ticket) and no token."""

from functools import partial
from urllib.parse import parse_qsl

from aiohttp import web

from api.file_links import read_query
from api.files import FILES
from api.parts import PARTS, Parts, now, origin
from api.preferences import parse_wait, preferred_wait
from api.problems import document_response, not_found
from api.words import path_attachment
from shared import attachments
from shared.attachments import Attachment
from shared.states import SETTLED


async def show(request: web.Request) -> web.Response:
    """Answer GET /attachments/status/{id}: state, reason, url and thumb.

    With `wait`, the answer is delayed until the attachment is settled. The address must have a
    valid signature that has not expired. Raises Problem 404 for any other address and for a deleted
    attachment, 400 for an invalid `wait`, and 429 if too many clients ask or wait.
    """
    parts = request.app[PARTS]
    attachment_id, stamp = _admit(request, parts)
    wait_s, preferred = _read_wait(request)
    row = await _find(parts, attachment_id, stamp, waits=wait_s > 0)
    if row is not None and wait_s and row.state not in SETTLED:
        row = await parts.waiters.wait(
            attachment_id,
            row.organization_id,
            within_s=wait_s,
            note_leave=partial(setattr, request.protocol, "on_lost"),
            by_ticket=True,
        )
    if row is None:
        raise not_found()
    resource = parts.documents.status(row, origin=origin(request, parts.settings), now=now())
    headers = {"Referrer-Policy": "no-referrer"}
    if preferred:
        headers["Preference-Applied"] = f"wait={wait_s}"
    return document_response({"data": resource, "meta": {}}, headers=headers)


def _admit(request: web.Request, parts: Parts) -> tuple[int, str]:
    """Return the id and the time stamp in a signed address.

    Raises Problem 404 if it is not valid.
    """
    attachment_id = path_attachment(request)
    query = read_query(request.rel_url.raw_query_string)
    admits = parts.documents.links.admits_status
    for stamp in query.stamps:
        if admits(attachment_id, stamp, query.ends, query.signature, now()):
            return attachment_id, stamp
    raise not_found()


def _read_wait(request: web.Request) -> tuple[int, bool]:
    """Return how many seconds to wait, and True if `Prefer` gave them. Raises Problem 400."""
    query = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True))
    if "wait" in query:
        return parse_wait(query["wait"]), False
    preferred = preferred_wait(request)
    return preferred or 0, preferred is not None


async def _find(parts: Parts, attachment_id: int, stamp: str, *, waits: bool) -> Attachment | None:
    """Find the row of a ticket. If the client does not want to wait, this uses the same turns and
    database connections as links to files.
    """
    if waits:
        row = await parts.waiters.rows.find_for_ticket(attachment_id)
    else:
        async with parts.links.turn(attachment_id):
            row = await parts.clients.of(FILES).run(attachments.find_any, attachment_id)
    if row is None or row.deleted_at is not None or int(row.created_at.timestamp()) != int(stamp):
        return None
    return row
