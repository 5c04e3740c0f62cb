"""Usage and quotas: GET /api/v2/usage, and creating within the quotas."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from aiohttp import web

from api.negotiation import check_accept
from api.parts import Parts, admit
from api.problems import ErrorObject, Problem, document_response, not_found, unsupported
from api.queries import given, list_name, unknown_parameter
from api.temp_urls.sources import Source
from api.words import shortened
from shared import copies, counting, idempotency, new_attachments, quotas
from shared.attachments import Attachment
from shared.database import Connection
from shared.idempotency import Repeated, RequestKey
from shared.new_attachments import NewAttachment
from shared.quotas import NotCounted, QuotaExceeded, Quotas, Usage
from shared.tokens import Caller

NO_QUOTAS = Quotas()


def quotas_of(parts: Parts, caller: Caller) -> Quotas | None:
    """Return the default quotas, or None if no quota applies to the caller's organization."""
    usual = parts.quotas
    return usual if caller.limited or usual != NO_QUOTAS else None


async def create_within(
    parts: Parts,
    caller: Caller,
    new: list[NewAttachment],
    sources: Sequence[Source | None],
    *,
    bulk: bool,
    key: RequestKey | None = None,
) -> list[Attachment] | Repeated:
    """Create attachments, all or none, within the organization's quotas.

    `sources` has one entry per attachment: the object to copy, or None. If `key` is known already,
    nothing is created, and Repeated has the ids of the first request's attachments. Raises Problem
    422 if a quota is exceeded. The error names the quota and, in bulk, the first attachment that
    does not fit.
    """
    usual = quotas_of(parts, caller)
    if usual is not None and _limits_bytes(usual, caller):
        new = [_promised(parts, *pair) for pair in zip(new, sources, strict=True)]
    create: Callable[..., Awaitable[list[Attachment]]] = new_attachments.create
    if any(sources):  # one transaction records rows and copies
        wanted = [None if source is None else source.wanted for source in sources]
        grace_s = parts.settings.publish_grace
        create = partial(copies.create, wanted=wanted, grace_s=grace_s)
    make: Callable[..., Awaitable[list[Attachment] | Repeated]] = create
    if key is not None:
        make = partial(_create_once, create, key)
    run = parts.clients.of(caller.organization_id).run
    for last in (False, True):
        try:
            return await run(
                make,
                new,
                organization_id=caller.organization_id,
                creator_id=caller.person_id,
                bucket=parts.settings.s3_bucket,
                policy_ttl_s=parts.settings.policy_ttl,
                first_check_s=parts.settings.pending_check,
                quotas=usual,
            )
        except QuotaExceeded as exceeded:
            raise _refusal(exceeded, new, bulk=bulk) from None
        except NotCounted:
            if last:
                raise
            await run(counting.count_first, caller.organization_id)
    raise AssertionError("unreachable")


async def _create_once(
    create: Callable[..., Awaitable[list[Attachment]]],
    key: RequestKey,
    connection: Connection,
    new: list[NewAttachment],
    **arguments: Any,
) -> list[Attachment] | Repeated:
    return await idempotency.once(
        connection,
        key,
        lambda held: create(held, new, **arguments),
        lambda rows: [row.id for row in rows],
    )


def _limits_bytes(usual: Quotas, caller: Caller) -> bool:
    """Return True if a quota of bytes applies to the caller's organization.

    If it does, a client may not upload more bytes than it declared.
    """
    own = caller.quota_bytes
    return usual.bytes is not None if own is None else own != quotas.UNLIMITED


def _promised(parts: Parts, item: NewAttachment, source: Source | None) -> NewAttachment:
    """Return the new attachment with the maximum size of its object, in bytes.

    Until the object is measured, the quota counts this size.
    """
    if source is not None:
        promised = source.found.size
    elif item.size is not None:
        promised = item.size
    else:
        promised = item.limit_size or parts.settings.max_size
    return replace(item, promised_bytes=promised)


def _refusal(exceeded: QuotaExceeded, new: Sequence[NewAttachment], *, bulk: bool) -> Problem:
    needs = [item.promised_bytes or 0 if exceeded.quota == "bytes" else 1 for item in new]
    left, first = exceeded.limit - exceeded.used, 0
    while first < len(needs) - 1 and needs[first] <= left:
        left -= needs[first]
        first += 1
    pointer = f"data/{first}" if bulk else "data"
    return Problem(422, [quota_error(exceeded, pointer, asked=sum(needs))])


def quota_error(exceeded: QuotaExceeded, pointer: str, *, asked: int) -> ErrorObject:
    """Return the error object for a quota that has no room for `asked` bytes or attachments."""
    unit = {"uploads_per_day": "uploads a day"}.get(exceeded.quota, exceeded.quota)
    if exceeded.used >= exceeded.limit:
        detail = f"the quota of {exceeded.limit} {unit} is used up"
    else:
        left = exceeded.limit - exceeded.used
        detail = f"the quota of {exceeded.limit} {unit} has {left} left, and {asked} are needed"
    return {
        "status": "422",
        "code": "quota_exceeded",
        "title": "Quota Exceeded",
        "detail": detail,
        "meta": {
            "quota": exceeded.quota,
            "limit": exceeded.limit,
            "used": exceeded.used,
            "asked": asked,
        },
        "source": {"pointer": pointer},
    }


async def check_growth(parts: Parts, caller: Caller, row: Attachment, source: Source) -> None:
    """Raise Problem 422 if the quota of bytes has no room for a copy that replaces a row's file.

    This check does not see concurrent requests, so `copies.change` checks again in its transaction.
    """
    if quotas_of(parts, caller) is None:
        return
    more = source.found.size - row.counted_bytes
    usage = await _usage(parts, caller)
    limit, used = usage.quotas.bytes, usage.bytes
    if limit is not None and used is not None and more > 0 and used + more > limit:
        raise growth_refused(QuotaExceeded("bytes", limit, used), row, source)


def growth_refused(exceeded: QuotaExceeded, row: Attachment, source: Source) -> Problem:
    """Return the 422 for a copy that does not fit into a quota."""
    more = source.found.size - row.counted_bytes
    return Problem(422, [quota_error(exceeded, "data/attributes/temp_url", asked=more)])


async def _usage(parts: Parts, caller: Caller) -> Usage:
    usual, run = parts.quotas, parts.clients.of(caller.organization_id).run
    found = await run(quotas.find_usage, caller.organization_id, usual)
    if found is not None and not found[1]:
        await run(counting.count_first, caller.organization_id)
        found = await run(quotas.find_usage, caller.organization_id, usual)
    if found is None:
        raise not_found()
    return found[0]


async def ensure_counted(parts: Parts, caller: Caller) -> None:
    """Count the usage of the caller's organization if it has no count yet."""
    await _usage(parts, caller)


async def show(request: web.Request) -> web.Response:
    """Answer GET /api/v2/usage: the usage and the quotas of the caller's organization."""
    parts, caller = await admit(request)
    check_accept(request)
    fieldset = _fieldset(request)
    usage = await _usage(parts, caller)
    attributes = {
        "attachments": usage.attachments,
        "bytes": usage.bytes,
        "uploads_today": usage.uploads_today,
        "limits": asdict(usage.quotas),
        "as_of": parts.documents.time(usage.as_of),
    }
    if fieldset is not None:
        attributes = {name: value for name, value in attributes.items() if name in fieldset}
    resource = {"id": str(usage.organization_id), "type": "usage", "attributes": attributes}
    return document_response({"data": resource, "meta": {}})


def _fieldset(request: web.Request) -> frozenset[str] | None:
    """Parse `fields[usage]`; ignore other `fields[…]`. Raises Problem 400 for other parameters."""
    fieldset: frozenset[str] | None = None
    for name, value in given(request):
        names = list_name(name)
        if names == "fields[usage]":
            fieldset = (fieldset or frozenset()).union(filter(None, value.split(",")))
        elif names == "include":
            for relationship in filter(None, value.split(",")):
                raise unsupported("Include", shortened(relationship))
        elif name == "sort":
            raise unsupported("Sort", shortened(value))
        elif name.startswith("filter"):
            raise unsupported("Filter", shortened(name[7:-1]))
        elif not name.startswith("fields["):
            raise unknown_parameter(name)
    return fieldset
