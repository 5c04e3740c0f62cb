"""Functions that set an organization's quota and read its usage."""

from typing import Any

from shared import counting
from tests.support.service import MEDIA_TYPE, Answer, Client, Service

BULK = f"{MEDIA_TYPE}; ext=bulk"
PATH = "/api/v2/attachments"


def resource(**attributes: Any) -> dict[str, Any]:
    return {"type": "attachments", "attributes": {"name": "a.txt", **attributes}}


async def create(client: Client, **attributes: Any) -> Answer:
    return await client.request("POST", PATH, {"data": resource(**attributes)})


async def bulk(client: Client, *sizes: int) -> Answer:
    headers = {"Content-Type": BULK, "Accept": BULK}
    document = {"data": [resource(size=size) for size in sizes]}
    return await client.request("POST", PATH, document, headers=headers)


async def usage(client: Client) -> dict[str, Any]:
    answer = await client.request("GET", "/api/v2/usage")
    assert answer.status == 200, answer.body
    assert answer.data["id"] == str(client.organization_id)
    assert answer.data["type"] == "usage"
    return dict(answer.data["attributes"])


async def drift(service: Service, organization_id: int) -> dict[str, int]:
    async with service.database.acquire() as connection:
        return await counting.recount(connection, organization_id)


NO_DRIFT = {"attachments": 0, "bytes": 0, "uploads": 0}
