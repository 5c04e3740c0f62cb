"""The routes of attachments: list, show, create (also in bulk), update, delete."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from aiohttp import web

from api.attachables import read_links
from api.attributes import check_changes, check_identity, resource_object
from api.bodies import read_json
from api.clients import client_address
from api.conditions import Conditions, entity_tag, is_current
from api.creating import check_all, find_sources
from api.issuing import MAX_BODY_BYTES, Issued, find_known, issue_again, write_policies
from api.listing import read_page
from api.negotiation import check_accept, check_content_type, refuse_bulk
from api.parts import Parts, admit, now, origin, with_key
from api.pauses import pause_after
from api.preferences import preferred_wait
from api.problems import BULK_TYPE, Problem, document_response, not_found
from api.queries import CURSOR_TYPE, View, parse_listing, parse_view
from api.request_keys import GivenKey
from api.temp_urls.copying import copy_all, require_room, take_over
from api.temp_urls.own_files import Kind, read_meaning, take_own
from api.usage import create_within
from api.words import path_attachment
from shared import attachments
from shared.attachments import Attachment
from shared.documents import included
from shared.idempotency import Repeated
from shared.log import get_logger
from shared.log_fields import add_fields
from shared.signing import Credentials
from shared.tokens import Caller

LIST_PATH = "/api/v2/attachments"
MAX_BULK_BYTES = 1024 * 1024

log = get_logger(__name__)


def _show(parts: Parts, row: Attachment, view: View, address: str) -> web.Response:
    resource = parts.documents.resource(
        row,
        origin=address,
        now=now(),
        include=view.include,
        fieldset=view.fieldset,
    )
    return document_response(
        included({"data": resource, "meta": {}}, view.include),
        headers={"ETag": entity_tag(parts, row, address)},
    )


async def show(request: web.Request) -> web.Response:
    """Answer GET /api/v2/attachments/{id}: one attachment.

    With `wait`, the answer is delayed until the attachment is settled.
    """
    parts, caller = await admit(request)
    check_accept(request)
    view = parse_view(request, waits=True)
    preferred = preferred_wait(request) if view.wait_s is None else None
    attachment_id, organization_id = path_attachment(request), caller.organization_id
    if wait_s := view.wait_s or preferred:
        row = await parts.waiters.wait(
            attachment_id,
            organization_id,
            within_s=wait_s,
            note_leave=partial(setattr, request.protocol, "on_lost"),
        )
    else:
        run = parts.clients.of(organization_id).run
        row = await run(attachments.find, attachment_id, organization_id)
    if row is None:
        raise not_found()
    if request.if_match is not None:
        Conditions(request.if_match, None).require(row)
    address = origin(request, parts.settings)
    response: web.Response
    if request.if_none_match is not None and is_current(
        request, tag := entity_tag(parts, row, address)
    ):
        response = web.Response(status=304, headers={"ETag": tag})
    else:
        response = _show(parts, row, view, address)
    if preferred is not None:
        response.headers["Preference-Applied"] = f"wait={preferred}"
    return response


async def index(request: web.Request) -> web.Response:
    """Answer GET /api/v2/attachments: a page by number with totals, or by cursor without totals."""
    parts, caller = await admit(request)
    check_accept(request)
    asked = parse_listing(request, parts.settings.zone)
    address = origin(request, parts.settings)
    page = await read_page(parts, caller.organization_id, asked, f"{address}{LIST_PATH}")
    moment = now()
    data = []
    for row in page.rows:
        data.append(
            parts.documents.resource(
                row,
                origin=address,
                now=moment,
                include=asked.view.include,
                fieldset=asked.view.fieldset,
            )
        )
        await pause_after(len(data))
    return document_response(
        included({"data": data, "links": page.links, "meta": page.meta}, asked.view.include),
        headers={"Content-Type": CURSOR_TYPE} if asked.cursor else None,
    )


@with_key(admit)
async def create(
    request: web.Request, parts: Parts, caller: Caller, key: GivenKey | None
) -> web.Response:
    """Answer POST /api/v2/attachments: create one attachment, or up to 100 with the bulk extension.

    A bulk request creates all of its attachments or none. If the Idempotency-Key is known, the
    answer has the attachments of the first request, with new policies.
    """
    await parts.bucket.require_for_policies()
    parts.ids.require_free()
    bulk = check_content_type(request)
    check_accept(request, bulk=bulk)
    view = parse_view(request)
    check = partial(check_all, parts, bulk=bulk, organization_id=caller.organization_id)
    checked = await read_json(
        request,
        parts.readers,
        caller.organization_id,
        max_bytes=MAX_BULK_BYTES if bulk else MAX_BODY_BYTES,
        check=check if key is None else key.noting(check),
    )
    # Everything that may fail comes before the rows are written, because after the commit the
    # answer must be 201.
    credentials = await parts.storage.credentials()
    answer = partial(_answer_created, request, parts, view=view, bulk=bulk, credentials=credentials)
    # Look up the Idempotency-Key first. If it is known, the request was already accepted once, and
    # must not fail in a check now.
    known = None if key is None else await find_known(parts, caller, key)
    if known is not None:
        return await answer(issued=await issue_again(parts, caller, known))
    sources = await find_sources(parts, checked, organization_id=caller.organization_id)
    new = [each.new for each in checked]
    require_room(parts, caller.organization_id, sources)
    rows = await create_within(
        parts, caller, new, sources, bulk=bulk, key=None if key is None else key.known
    )
    if isinstance(rows, Repeated):
        return await answer(issued=await issue_again(parts, caller, rows))
    rows = await copy_all(parts, rows, sources)
    issued = [
        Issued(row=row, signed_at=row.created_at, content_type=item.content_type)
        for row, item in zip(rows, new, strict=True)
    ]
    return await answer(issued=issued)


async def _answer_created(
    request: web.Request,
    parts: Parts,
    *,
    issued: Sequence[Issued],
    view: View,
    bulk: bool,
    credentials: Credentials,
) -> web.Response:
    address = origin(request, parts.settings)
    answer = await write_policies(
        parts, issued, address=address, view=view, credentials=credentials, bulk=bulk
    )
    headers = {"Content-Type": BULK_TYPE}
    if not bulk:
        row = issued[0].row
        add_fields(attachment=row.id)
        headers = {
            "Location": f"{address}{LIST_PATH}/{row.id}",
            "ETag": entity_tag(parts, row, address),
        }
    return document_response(answer, status=201, headers=headers)


async def update(request: web.Request) -> web.Response:
    """Answer PATCH /api/v2/attachments/{id}: change attributes.

    A `temp_url` says which object is the attachment's file.
    """
    parts, caller = await admit(request)
    refuse_bulk(request, only_for="POST")
    check_accept(request)
    view = parse_view(request)
    attachment_id = path_attachment(request)

    def check(document: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data = resource_object(document)
        return data, check_identity(data, attachment_id=attachment_id)

    data, attributes = await read_json(
        request, parts.readers, caller.organization_id, max_bytes=MAX_BODY_BYTES, check=check
    )
    run, organization_id = parts.clients.of(caller.organization_id).run, caller.organization_id
    row = await run(attachments.find, attachment_id, organization_id)
    if row is None:
        raise not_found()
    conditions = Conditions.of(request)
    if conditions:
        conditions.require(row)
    attributes, link_faults = read_links(data, attributes, row=row)
    changes, faults = check_changes(
        attributes,
        max_size=parts.settings.max_size,
        reserved=parts.settings.reserved_files,
        row=row,
    )
    meaning, location_faults = read_meaning(parts, request, row, changes.pop("temp_url", None))
    faults += location_faults + link_faults
    if faults:
        raise Problem(422, faults)
    if meaning.kind is not Kind.NOTHING:
        parts.bucket.require_ours()
    if meaning.kind is Kind.OWN_FILE:
        changes |= await take_own(parts, row, meaning)
    changed: Attachment | None = row
    if meaning.location is not None:
        changed = await take_over(parts, caller, row, meaning.location, changes)
    elif changes:
        change = partial(
            attachments.update,
            attachment_id=attachment_id,
            organization_id=organization_id,
            changes=changes,
        )
        if conditions and meaning.kind is Kind.NOTHING:
            changed = await run(conditions.guard, attachment_id, organization_id, change)
        else:  # the request has no conditions, or `take_own` has checked them already
            changed = await run(change)
    elif meaning.kind is Kind.OWN_FILE:  # read the row again, `take_own` may have changed it
        changed = await run(attachments.find, attachment_id, organization_id)
    if changed is None:
        raise not_found()
    return _show(parts, changed, view, origin(request, parts.settings))


async def delete(request: web.Request) -> web.Response:
    """Answer DELETE /api/v2/attachments/{id}: delete the row now.

    Its objects are purged later.
    """
    parts, caller = await admit(request)
    check_accept(request)
    attachment_id, organization_id = path_attachment(request), caller.organization_id
    remove = partial(
        attachments.delete,
        attachment_id=attachment_id,
        organization_id=organization_id,
        retention_s=parts.settings.retention,
    )
    run, conditions = parts.clients.of(organization_id).run, Conditions.of(request)
    if conditions:
        deleted = await run(conditions.guard, attachment_id, organization_id, remove)
    else:
        deleted = await run(remove)
    if not deleted:
        raise not_found()
    log.info(
        "attachment deleted",
        attachment=attachment_id,
        organization=caller.organization_id,
        token=caller.token_id,
        address=client_address(request),
    )
    return web.Response(status=204)
