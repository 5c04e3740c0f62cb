"""Requests to a second API process, which the test's own client does not use."""

from tests.support.resources import PATH, body
from tests.support.service import Client


async def create(client: Client, url: str) -> int:
    """Create an attachment through another API process, and return the HTTP status."""
    at_process = Client(
        session=client.session,
        base_url=url,
        organization_id=client.organization_id,
        token=client.token,
    )
    return (await at_process.request("POST", PATH, body({"name": "a.png"}))).status


async def readiness(client: Client, url: str) -> tuple[int, str]:
    """Return the status and the body of another API process's `/health/ready`."""
    async with client.session.get(f"{url}/health/ready") as answer:
        return answer.status, await answer.text()
