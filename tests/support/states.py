"""Functions that set the states of attachments directly, without processing."""

from typing import Any

from shared.reasons import ReasonCode
from shared.states import State
from tests.support.service import Service


async def create(service: Service, count: int = 1) -> list[str]:
    """Create `count` attachments, and return their ids."""
    documents: list[Any] = [await service.client.create() for _ in range(count)]
    return [str(document["data"]["id"]) for document in documents]


async def put(
    service: Service, attachment_id: str, state: State, reason: ReasonCode | None = None
) -> None:
    """Set the state of an attachment directly. Other columns get values that fit this state."""
    await service.execute(
        """
        UPDATE attachments
        SET state = $2, reason = $3, revision = 3, claimed_revision = 3, attempt = 5, due_at = NULL
        WHERE id = $1
        """,
        int(attachment_id),
        state,
        reason,
    )


async def copy_row(service: Service, attachment_id: str, count: int) -> None:
    """Insert `count` copies of a row. Their ids begin ten after that of the row."""
    await service.execute(
        """
        INSERT INTO attachments
        SELECT (jsonb_populate_record(a, jsonb_build_object('id', a.id + n))).*
        FROM attachments AS a, generate_series(10, $2::integer + 9) AS n WHERE a.id = $1
        """,
        int(attachment_id),
        count,
    )
