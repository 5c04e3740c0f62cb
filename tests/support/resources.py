"""Expected documents of the API with all their members, and functions that read the bucket
directly.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from tests.support.service import Answer, Client
from tests.support.stack import Stack

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

PATH = "/api/v2/attachments"
NOT_INCLUDED = {"meta": {"included": False}}
RELATIONSHIPS = {
    "creator": "people",
    "invoice": "invoices",
    "purchase_order": "purchase_orders",
    "bill": "bills",
    "email": "emails",
    "page": "pages",
    "expense": "expenses",
    "comment": "comments",
    "task": "tasks",
    "document_style": "document_styles",
    "document_type": "document_types",
    "deal": "deals",
}
"""Maps each relationship of the contract to its resource type."""


def written(document: Any) -> str:
    """Return a JSON document as indented text that keeps the order of members."""
    return json.dumps(document, indent=1)


def body(attributes: Mapping[str, Any], attachment_id: str | None = None) -> dict[str, Any]:
    """Return the JSON:API document of a request with these attributes."""
    identity = {} if attachment_id is None else {"id": attachment_id}
    return {"data": {"type": "attachments", **identity, "attributes": dict(attributes)}}


def time(moment: datetime) -> str:
    """Format a time as the contract requires: UTC, truncated to milliseconds, with the offset
    `+00:00`.
    """
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03}+00:00"


def resource(
    attachment_id: str,
    organization_id: int,
    *,
    attributes: Mapping[str, Any],
    relationships: Mapping[str, Any] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the resource of a new attachment; keyword arguments replace the default values.

    `url` and `created_at` have no default. An attribute that a new attachment does not have is
    added at the end of `attributes`.
    """
    new = dict.fromkeys(
        (
            "name",
            "content_type",
            "size",
            "url",
            "thumb",
            "temp_url",
            "resized",
            "created_at",
            "deleted_at",
            "attachment_type",
            "message_id",
            "external_id",
            "attachable_type",
        )
    )
    assert attributes.keys() >= {"url", "created_at"}
    return {
        "id": attachment_id,
        "type": "attachments",
        "attributes": {**new, "resized": False, **attributes},
        "relationships": {
            "organization": {"data": {"type": "organizations", "id": str(organization_id)}},
            **dict.fromkeys(RELATIONSHIPS, NOT_INCLUDED),
            **(relationships or {}),
        },
        "meta": {
            "state": "pending",
            "reason": None,
            "width": None,
            "height": None,
            "pages": None,
            "checksum_sha256": None,
            "duration": None,
            "thumbhash": None,
            "thumbs": {},
            "processed_at": None,
            **(meta or {}),
        },
    }


def problem(status: int, title: str, detail: str) -> dict[str, Any]:
    """Return an error document with one error (contract.md, "General errors")."""
    return {"errors": [{"status": str(status), "title": title, "detail": detail}]}


NOT_FOUND = problem(404, "Record Not Found", "The requested record was not found")


def invalid(pointer: str, detail: str, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the expected error object for an invalid attribute (status 422)."""
    return {
        "status": "422",
        "code": "invalid_attribute",
        "title": "Invalid Attribute",
        "detail": detail,
        "meta": dict(meta),
        "source": {"pointer": pointer},
    }


@asynccontextmanager
async def open_bucket(stack: Stack) -> AsyncIterator["S3Client"]:
    """Open an S3 client that uses the store directly, not through the service."""
    async with get_session().create_client(
        "s3",
        region_name=stack.seaweedfs.region,
        endpoint_url=stack.seaweedfs.url,
        aws_access_key_id=stack.seaweedfs.access_key_id,
        aws_secret_access_key=stack.seaweedfs.secret_access_key,
        config=AioConfig(signature_version="s3v4", s3={"addressing_style": "path"}),
    ) as client:
        yield client


async def stored(client: "S3Client", bucket: str, key: str) -> bytes | None:
    """Return the content of an object in the store, or None if there is no such object."""
    try:
        answer = await client.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        return None
    async with answer["Body"] as content:
        return await content.read()


def is_error(answer: Answer, document: Mapping[str, Any]) -> bool:
    """Assert that an answer is this error document, with the media type of JSON:API, and return
    True.
    """
    status = int(document["errors"][0]["status"])
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/vnd.api+json; charset=utf-8"
    assert written(answer.document) == written(document)
    return True


async def patch(client: Client, attachment_id: str, attributes: dict[str, Any]) -> Answer:
    """Change an attachment by a PATCH request."""
    return await client.request("PATCH", f"{PATH}/{attachment_id}", body(attributes))
