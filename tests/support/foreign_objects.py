"""Requests that name an object of another organization."""

from tests.support.resources import PATH, body
from tests.support.service import MEDIA_TYPE, Answer, Client

SECRET = b"the payroll of another organization"


async def patch(client: Client, attachment_id: str, temp_url: str) -> Answer:
    """Send a PATCH that sets an attachment's `temp_url`."""
    return await client.request("PATCH", f"{PATH}/{attachment_id}", body({"temp_url": temp_url}))


async def post_all(client: Client, urls: list[str]) -> Answer:
    """Create one attachment for each `temp_url` by one request."""
    bulk = f"{MEDIA_TYPE}; ext=bulk"
    items = [body({"name": "a.txt", "temp_url": url})["data"] for url in urls]
    return await client.request(
        "POST", PATH, {"data": items}, headers={"Content-Type": bulk, "Accept": bulk}
    )
