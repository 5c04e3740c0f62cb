"""Answers with upload policies: for created attachments, and for renewed policies."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from aiohttp import web

from api.attributes import check_identity, resource_object
from api.bodies import read_json
from api.creating import stored_type
from api.negotiation import check_accept, refuse_bulk
from api.parts import Parts, admit, now, origin, with_key
from api.pauses import pause_after
from api.problems import Problem, document_response, general, not_found
from api.queries import View, parse_view
from api.request_keys import GivenKey
from api.usage import ensure_counted, quota_error, quotas_of
from api.words import path_attachment
from shared import attachments, idempotency, renewing
from shared.attachments import Attachment
from shared.caching import PUBLIC_FILE
from shared.database import Connection
from shared.documents import included
from shared.idempotency import Repeated, RequestKey
from shared.quotas import QuotaExceeded
from shared.signing import Credentials, policy_end, post_policy
from shared.tokens import Caller

MAX_BODY_BYTES = 64 * 1024

TICKET_OUTLIVES_POLICY = timedelta(hours=1)
"""Time for which a ticket is valid after its policy has expired. An upload may begin just before
the policy expires. The page then needs the ticket to see the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A row whose upload policy is part of an answer.

    `signed_at` is the database's time at which the row got the policy. `content_type` is the type
    that the client declared.
    """

    row: Attachment
    signed_at: datetime
    content_type: str | None


def issued_again(renewed: renewing.Renewed) -> Issued:
    """Return the row, time and content type of a renewed policy.

    If the row has a measured type, the new policy does not require it, because the next file may
    have another type.
    """
    row = renewed.attachment
    declared = row.content_type if row.etag is None else None
    return Issued(row=row, signed_at=renewed.signed_at, content_type=declared)


async def write_policies(
    parts: Parts,
    issued: Sequence[Issued],
    *,
    address: str,
    view: View,
    credentials: Credentials,
    bulk: bool = False,
) -> dict[str, Any]:
    """Sign the policies and return the document of the answer. At least one row is needed.

    `address` is the beginning of the document's links, see `api.parts.origin`.
    """
    settings, moment = parts.settings, now()
    expiries = [
        policy_end(credentials=credentials, now=each.signed_at, lifetime_s=settings.policy_ttl)
        for each in issued
    ]
    resources = []
    for each, ends in zip(issued, expiries, strict=True):
        row = each.row
        policy = post_policy(
            bucket=row.bucket,
            key=row.key,
            region=settings.store.region,
            credentials=credentials,
            now=each.signed_at,
            lifetime_s=settings.policy_ttl,
            max_bytes=row.policy_bytes(settings.max_size),
            content_type=stored_type(settings, each.content_type, row.file_name),
            cache_control=PUBLIC_FILE if settings.files_public else None,
        )
        resource = parts.documents.resource(
            row,
            origin=address,
            now=moment,
            include=view.include,
            fieldset=view.fieldset,
            policy=policy,
        )
        status_url = parts.documents.links.status_url(
            row.id, row.created_at, ends + TICKET_OUTLIVES_POLICY, address
        )
        if bulk:
            resource["meta"]["status_url"] = status_url
        resources.append(resource)
        await pause_after(len(resources))
    meta = {
        "upload_url": settings.upload_url,
        "expires_at": parts.documents.time(expiries[0]),
    }
    if bulk:
        return included({"data": resources, "meta": meta}, view.include)
    return included({"data": resource, "meta": {**meta, "status_url": status_url}}, view.include)


@with_key(admit)
async def renew(
    request: web.Request, parts: Parts, caller: Caller, key: GivenKey | None
) -> web.Response:
    """Answer POST /api/v2/attachments/{id}/aws_policy: a new policy for the same key."""
    await parts.bucket.require_for_policies()
    check_accept(request)
    view = parse_view(request)
    attachment_id = path_attachment(request)
    await _read_any(request, parts, caller, attachment_id, key)
    run = parts.clients.of(caller.organization_id).run
    row = await run(attachments.find, attachment_id, caller.organization_id)
    if row is None:
        raise not_found()
    if row.bucket != parts.settings.s3_bucket:
        raise general(409, "The attachment is in another bucket, which takes no more uploads")
    credentials = await parts.storage.credentials()
    known = None if key is None else await find_known(parts, caller, key)
    if known is None:
        renewed = await _renew_within(parts, caller, row, key)
        if isinstance(renewed, Repeated):
            known = renewed
        else:
            issued = [issued_again(renewed)]
    if known is not None:
        issued = await issue_again(parts, caller, known)
    document = await write_policies(
        parts,
        issued,
        address=origin(request, parts.settings),
        view=view,
        credentials=credentials,
    )
    return document_response(document)


async def find_known(parts: Parts, caller: Caller, key: GivenKey) -> Repeated | None:
    """Return what an earlier request with this Idempotency-Key created, or None.

    Raises KeyReused if that request differs from this one.
    """
    return await parts.clients.of(caller.organization_id).run(idempotency.find_made, key.known)


async def issue_again(parts: Parts, caller: Caller, known: Repeated) -> list[Issued]:
    """Renew the policies of an earlier request's attachments, in the order of that request.

    No quota counts these attachments again. Raises Problem 404 if one of them has been deleted.
    """
    renewed = await parts.clients.of(caller.organization_id).run(
        renewing.renew_policies,
        known.made,
        caller.organization_id,
        bucket=parts.settings.s3_bucket,
        policy_ttl_s=parts.settings.policy_ttl,
        first_check_s=parts.settings.pending_check,
    )
    found = {each.attachment.id: issued_again(each) for each in renewed}
    if found.keys() != set(known.made):
        raise not_found()
    return [found[each] for each in known.made]


async def _read_any(
    request: web.Request,
    parts: Parts,
    caller: Caller,
    attachment_id: int,
    key: GivenKey | None,
) -> None:
    """If there is a body, check the resource's type and id. Raises what `read_json` raises."""
    if not request.body_exists or request.content.at_eof():
        if key is not None:
            key.note(None)
        return
    refuse_bulk(request, only_for="creating attachments")

    def check(document: Any) -> None:
        if not isinstance(document, dict) or "data" in document:
            check_identity(resource_object(document), attachment_id=attachment_id)

    await read_json(
        request,
        parts.readers,
        caller.organization_id,
        max_bytes=MAX_BODY_BYTES,
        check=check if key is None else key.noting(check),
    )


async def _renew_once(
    connection: Connection,
    renew_counted: Callable[..., Awaitable[renewing.Renewed | None]],
    row: Attachment,
    key: RequestKey | None,
) -> renewing.Renewed | Repeated | None:
    if key is None:
        return await renew_counted(connection, row.id, row.organization_id)
    return await idempotency.once(
        connection,
        key,
        lambda held: renew_counted(held, row.id, row.organization_id),
        lambda made: [] if made is None else [made.attachment.id],
    )


async def _renew_within(
    parts: Parts, caller: Caller, row: Attachment, key: GivenKey | None
) -> renewing.Renewed | Repeated:
    """Renew the policy of a row within the quotas.

    Raises Problem 404 if the row is missing, and 422 if a quota is exceeded.
    """
    usual = quotas_of(parts, caller)
    if usual is not None:
        await ensure_counted(parts, caller)
    renew_counted = partial(
        renewing.renew_counted,
        bucket=parts.settings.s3_bucket,
        policy_ttl_s=parts.settings.policy_ttl,
        first_check_s=parts.settings.pending_check,
        max_size=parts.settings.max_size,
        usual=usual,
    )
    run = parts.clients.of(caller.organization_id).run
    try:
        renewed = await run(_renew_once, renew_counted, row, None if key is None else key.known)
    except QuotaExceeded as exceeded:
        asked = 1
        if exceeded.quota == "bytes":
            asked = row.policy_bytes(parts.settings.max_size) - row.counted_bytes
        raise Problem(422, [quota_error(exceeded, "data", asked=asked)]) from None
    if renewed is None or (isinstance(renewed, Repeated) and not renewed.made):
        raise not_found()
    return renewed
