"""Functions that create many attachments and read lists of attachments."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.resources import PATH, body
from tests.support.service import MEDIA_TYPE, Answer, Client


async def create_many(client: Client, attributes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Create attachments by one request and return their ids."""
    bulk = f"{MEDIA_TYPE}; ext=bulk"
    answer = await client.request(
        "POST",
        PATH,
        {"data": [body(item)["data"] for item in attributes]},
        headers={"Content-Type": bulk, "Accept": bulk},
    )
    assert answer.status == 201, answer.body
    return [item["id"] for item in answer.data]


async def create_numbered(client: Client, number: int) -> list[str]:
    """Create the given number of attachments and return their ids."""
    return await create_many(client, [{"name": f"{n}.txt"} for n in range(number)])


def ids(answer: Answer) -> list[str]:
    """Return the ids of the attachments in an answer that is a list."""
    assert answer.status == 200, answer.body
    return [item["id"] for item in answer.data]


async def get(client: Client, query: str) -> Answer:
    """Request a list of attachments.

    `query` may contain brackets; the function percent-encodes them.
    """
    return await client.request("GET", f"{PATH}?{query}".replace("[", "%5B").replace("]", "%5D"))


ATTACHED: list[dict[str, Any]] = [
    {"name": "comment 1", "attachable_type": "comment", "attachable_id": 1},
    {"name": "comment 2", "attachable_type": "comment", "attachable_id": 2},
    {"name": "comment 3", "attachable_type": "comment", "attachable_id": 3},
    {"name": "page 1", "attachable_type": "page", "attachable_id": 1},
    {"name": "task 1", "attachable_type": "task", "attachable_id": 1},
    {"name": "task 2", "attachable_type": "task", "attachable_id": 2},
    {"name": "task", "attachable_type": "task"},
    {"name": "nothing"},
]
