"""Events that a store sends about an attachment."""

from typing import Any

from tests.support.events import message, send
from tests.support.service import Service


async def post_records(service: Service, *records: Any) -> dict[str, int]:
    """Post event records, and return the counts in the API's answer."""
    answer = await send(service, message(*records))
    assert answer.status == 200, answer.body
    meta: dict[str, int] = answer.document["meta"]
    return meta
