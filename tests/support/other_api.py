"""Requests to an API process other than the one that a test's client uses."""

from tests.support.resources import PATH, body
from tests.support.service import Client


async def create(client: Client, url: str) -> int:
    """Create an attachment at another API process, and return the status."""
    at_process = Client(
        session=client.session,
        base_url=url,
        organization_id=client.organization_id,
        token=client.token,
    )
    return (await at_process.request("POST", PATH, body({"name": "a.png"}))).status


async def readiness(client: Client, url: str) -> tuple[int, str]:
    """Request the readiness of another API process."""
    async with client.session.get(f"{url}/health/ready") as answer:
        return answer.status, await answer.text()
