"""Create attachments: the record of a new attachment, and the SQL that inserts several."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from operator import attrgetter
from typing import Any

import asyncpg

from shared import keys, traces
from shared.attachments import Attachment
from shared.database import Connection
from shared.quotas import Quotas, translate


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAttachment:
    """The attributes that a client sent for a new attachment, already checked.

    The fields mean the same as in `Attachment`.
    """

    name: str
    attachable_type: str | None = None
    attachable_id: int | None = None
    attachment_type: str | None = None
    message_id: str | None = None
    external_id: str | None = None
    content_type: str | None = None
    size: int | None = None
    limit_size: int | None = None
    limit_types: Sequence[str] | None = None
    promised_bytes: int | None = None


GIVEN = tuple(each.name for each in fields(NewAttachment))
_given_of = attrgetter(*GIVEN)


@cache
def _insert(count: int, *, held: bool) -> str:
    """Return the SQL that inserts `count` rows. All rows share the parameters $1 to $6.

    If `held` is true, the SQL checks the quotas too; the last four parameters are for this check.
    """
    width = 1 + len(GIVEN)
    rows = []
    for first in range(7, 7 + count * width, width):
        given = ", ".join(f"${number}" for number in range(first, first + width))
        rows.append(
            "($1, $2, $3, date_trunc('second', now()) + $4 * interval '1 second',"
            f" now() + $5 * interval '1 second', $6, {given})"
        )
    if held:
        end = 7 + count * width
        more = ", ".join(f"${number}::bigint" for number in range(end, end + 4))
        room = f"(SELECT hold_quota($1, {count}, {more}))"
        rows[0] = rows[0].replace("$1", room, 1)
    return (
        "INSERT INTO attachments (organization_id, creator_id, bucket, policy_expires_at, due_at,"
        f" traceparent, file_name, {', '.join(GIVEN)}) VALUES {', '.join(rows)}"
        " RETURNING id, created_at, policy_expires_at, due_at"
    )


async def create(
    connection: Connection,
    new: Sequence[NewAttachment],
    *,
    organization_id: int,
    creator_id: int | None,
    bucket: str,
    policy_ttl_s: int,
    first_check_s: float,
    quotas: Quotas | None = None,
) -> list[Attachment]:
    """Insert up to 100 `pending` attachments in the given order. Return their rows.

    `quotas` are the quotas of the settings, which an organization's own quotas replace. If `quotas`
    is None, no quota is checked. Raises QuotaExceeded if a quota would be exceeded, or NotCounted
    if the organization's usage is not counted yet. After an error, none is inserted. Do not repeat
    the call after a success: that would insert more rows.
    """
    trace = traces.current()
    values: list[Any] = [organization_id, creator_id, bucket, float(policy_ttl_s), first_check_s]
    values.append(trace)
    file_names = [keys.safe_file_name(item.name) for item in new]
    given = [_given_of(item) for item in new]
    for file_name, attributes in zip(file_names, given, strict=True):
        values += (file_name, *attributes)
    if quotas is not None:
        asked = sum(item.promised_bytes or 0 for item in new)
        values += [asked, quotas.attachments, quotas.bytes, quotas.uploads_per_day]
    try:
        rows = await connection.fetch(_insert(len(new), held=quotas is not None), *values)
    except asyncpg.PostgresError as error:
        if (meant := translate(error)) is not None:
            raise meant from None
        raise
    return [
        Attachment.made_of(
            organization_id=organization_id,
            creator_id=creator_id,
            bucket=bucket,
            file_name=file_name,
            traceparent=trace,
            **dict(zip(GIVEN, attributes, strict=True)),
            **dict(row),
        )
        for row, attributes, file_name in zip(rows, given, file_names, strict=True)
    ]
