"""Functions that send create requests, and that check the form fields in the answers."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Any

from shared.attachments import Attachment
from tests.support.resources import PATH, body
from tests.support.service import Answer, Client, Service

MAX_SIZE = 314_572_800


async def post(client: Client, attributes: Mapping[str, Any]) -> Answer:
    """Send a create request with the given attributes."""
    return await client.request("POST", PATH, body(attributes))


async def count(client: Client) -> int:
    """Return the number of attachments of the client's organization."""
    answer = await client.request("GET", PATH)
    total: int = answer.document["meta"]["total_count"]
    return total


def expected_fields(
    service: Service,
    row: Attachment,
    *,
    content_type: str | None = None,
    token: str | None = None,
) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the expected policy document, and the expected `aws_policy` without `policy` and
    `signature`.
    """
    date = row.created_at.astimezone(UTC)
    settings = service.settings
    typed = {} if content_type is None else {"Content-Type": content_type}
    temporary = {} if token is None else {"x-amz-security-token": token}
    signed = {
        "x-amz-credential": f"{service.stack.seaweedfs.access_key_id}/{date:%Y%m%d}"
        f"/{settings.s3_region}/s3/aws4_request",
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-date": f"{date:%Y%m%dT%H%M%SZ}",
        **temporary,
    }
    key = row.key
    fields = {
        "key": key,
        "success_action_status": "201",
        **typed,
        "policy": "",
        **signed,
        "x-amz-signature": "",
    }
    document = {
        "expiration": f"{date + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        "conditions": [
            {"bucket": settings.s3_bucket},
            {"key": key},
            {"success_action_status": "201"},
            ["content-length-range", 0, MAX_SIZE],
            *({name: value} for name, value in {**signed, **typed}.items()),
        ],
    }
    return fields, document


def decoded(fields: Mapping[str, str]) -> Any:
    """Decode the policy document in the form fields of a policy."""
    return json.loads(base64.b64decode(fields["policy"], validate=True))
