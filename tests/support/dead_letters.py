"""Functions that make and read dead letters."""

from collections.abc import Mapping

from shared import dead_letters
from shared.dead_letters import DeadLetter
from tests.support.events import EVENTS, send
from tests.support.service import Service
from tests.support.stack import EVENTS_TOKEN

UNREADABLE = {"recorded": 0, "no_effect": 0, "ignored": 0, "unreadable": 1}
TOKEN = {"Authorization": f"Bearer {EVENTS_TOKEN}"}


async def letters(service: Service) -> list[tuple[DeadLetter, bytes]]:
    """Read all dead letters, the newest first."""
    async with service.database.acquire() as connection:
        found = []
        for letter in await dead_letters.list_newest(connection, limit=1000):
            whole = await dead_letters.find(connection, letter.id)
            assert whole is not None
            assert whole[0] == letter
            found.append(whole)
    return found


async def the_letter(service: Service) -> tuple[DeadLetter, bytes]:
    """Return the only dead letter and its body; assert that there is exactly one."""
    (only,) = await letters(service)
    return only


async def refuse_to_read(
    service: Service, body: bytes, headers: Mapping[str, str] | None = None, path: str = EVENTS
) -> None:
    """Post an event that the API cannot read, and assert that the API still answers with 200."""
    sent = {**TOKEN, **(headers or {})} if path == EVENTS else headers or {}
    answer = await send(service, body, sent, path)
    assert (answer.status, answer.document["meta"]) == (200, UNREADABLE)
