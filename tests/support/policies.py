"""Functions that read a policy's form fields, and the store's error code for a refused upload."""

from collections.abc import Mapping
from typing import Any

from tests.support.service import Client

CONTENT = b"the content of a file"


def policy_of(created: Any) -> dict[str, str]:
    """Return the form fields of the policy in a create answer."""
    fields: dict[str, str] = created["data"]["attributes"]["aws_policy"]
    return fields


async def refusal(client: Client, created: Any, changed: Mapping[str, str | None]) -> str:
    """Post a file with changed form fields, assert that the store refuses it, and return the
    store's error code.
    """
    status, answer = await client.post_file(created, CONTENT, changed=changed)
    assert status in (400, 403), answer
    return answer.partition("<Code>")[2].partition("</Code>")[0]
