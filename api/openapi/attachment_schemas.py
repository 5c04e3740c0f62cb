"""The schemas of attachments in answers."""

from typing import get_args

from api.openapi.shapes import (
    TEXT,
    Json,
    document,
    members,
    or_null,
    resource,
    schema,
    words,
)
from api.queries import MAX_PAGE_SIZE
from shared.attachable_types import ATTACHABLE_TYPES
from shared.documents import RELATIONSHIPS
from shared.keys import STYLE_NAME
from shared.reasons import REASONS
from shared.states import STATES
from shared.verdicts import Verdict

TIME: Json = {"type": "string", "format": "date-time"}
URL: Json = {"type": "string", "format": "uri-reference"}
STATUS_URL: Json = {
    **URL,
    "type": ["string", "null"],
    "description": "Shows the result to a page without a token; null without a secret to sign with",
}
COUNT: Json = {"type": "integer", "minimum": 0}


def shown() -> dict[str, Json]:
    """Return the schemas of attachments in answers, by name."""
    included = {"meta": members({"included": {"type": "boolean", "const": False}})}
    reasons = "; ".join(f"`{code}`: {each.sentence}" for code, each in REASONS.items())
    return {
        "Id": {"type": "string", "pattern": "^[1-9][0-9]{0,18}$", "examples": ["4"]},
        "State": words(STATES, "The state of an attachment"),
        "AttachableType": words(ATTACHABLE_TYPES, "What an attachment may belong to"),
        "AttachmentType": words(("inline",), "`inline`: the file is shown inside a text"),
        "ReasonCode": words(REASONS, reasons),
        "Reason": members(
            {"code": schema("ReasonCode"), "detail": TEXT},
            description="Why an attachment is rejected or failed, or what is wrong with its file",
        ),
        "ScanVerdict": words(get_args(Verdict), "What the scanner found"),
        "Scan": members(
            {"verdict": schema("ScanVerdict"), "signature": or_null(TEXT)},
            description="Only where uploads are scanned",
        ),
        "Limits": members(
            {"max_size": COUNT, "content_types": {"type": "array", "items": TEXT}}, required=()
        ),
        "Policy": {
            **members(
                {
                    "key": TEXT,
                    "success_action_status": TEXT,
                    "Content-Type": TEXT,
                    "Cache-Control": TEXT,
                    "policy": TEXT,
                    "x-amz-credential": TEXT,
                    "x-amz-algorithm": TEXT,
                    "x-amz-date": TEXT,
                    "x-amz-security-token": TEXT,
                    "x-amz-signature": TEXT,
                },
                required=(
                    "key",
                    "success_action_status",
                    "policy",
                    "x-amz-credential",
                    "x-amz-algorithm",
                    "x-amz-date",
                    "x-amz-signature",
                ),
                description="The fields of the form to post to `meta.upload_url`, all of them"
                " unchanged and the file last",
            ),
        },
        "AttachmentAttributes": members(
            {
                "name": TEXT,
                "content_type": or_null(TEXT),
                "size": or_null(COUNT),
                "url": URL,
                "thumb": or_null(URL),
                "temp_url": or_null(TEXT),
                "resized": {"type": "boolean"},
                "created_at": TIME,
                "deleted_at": or_null(TIME),
                "attachment_type": or_null(schema("AttachmentType")),
                "message_id": or_null(TEXT),
                "external_id": or_null(TEXT),
                "attachable_type": or_null(schema("AttachableType")),
                "aws_policy": schema("Policy"),
            },
            required=(),
            description="Without `fields[attachments]` all are there; `aws_policy` only in the"
            " answers of create and of a new policy",
        ),
        "NotIncluded": members({"meta": included["meta"]}),
        **{
            f"{title_of(name)}Identifier": members(
                {"type": {"type": "string", "const": kind}, "id": schema("Id")}
            )
            for name, kind in {"organization": "organizations", **RELATIONSHIPS}.items()
        },
        "AttachmentRelationships": members(
            {
                "organization": members({"data": schema("OrganizationIdentifier")}),
                **{name: _relationship(name) for name in RELATIONSHIPS},
            },
            required=(),
        ),
        "Thumbs": {
            "type": "object",
            "description": "The thumbnails of the current upload, by style. If there are any,"
            " `thumb` is one of them. Width and height are null if an earlier release made the"
            " thumbnail",
            "propertyNames": {"pattern": f"^{STYLE_NAME}$"},
            "additionalProperties": members(
                {"url": URL, "width": or_null(COUNT), "height": or_null(COUNT)}
            ),
        },
        "AttachmentMeta": members(
            {
                "state": schema("State"),
                "reason": or_null(schema("Reason")),
                "width": or_null(COUNT),
                "height": or_null(COUNT),
                "pages": or_null(COUNT),
                "checksum_sha256": or_null({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
                "duration": or_null({"type": "number", "exclusiveMinimum": 0}),
                "thumbhash": or_null({"type": "string", "pattern": "^[A-Za-z0-9+/]{6,48}={0,2}$"}),
                "thumbs": schema("Thumbs"),
                "processed_at": or_null(TIME),
                "limits": schema("Limits"),
                "scan": schema("Scan"),
                "status_url": STATUS_URL,
            },
            required=(
                "state",
                "reason",
                "width",
                "height",
                "pages",
                "checksum_sha256",
                "duration",
                "thumbhash",
                "thumbs",
                "processed_at",
            ),
        ),
        "Attachment": {
            **resource(
                "attachments",
                {
                    "attributes": schema("AttachmentAttributes"),
                    "relationships": schema("AttachmentRelationships"),
                    "meta": schema("AttachmentMeta"),
                },
            ),
            "required": ["id", "type", "attributes", "meta"],
        },
        **_documents(),
    }


def _documents() -> dict[str, Json]:
    attachments: Json = {"type": "array", "items": schema("Attachment")}
    included: Json = {
        "type": "array",
        "maxItems": 0,
        "items": {},
        "description": "Empty; there if `include` was given",
    }
    link = {**URL, "type": ["string", "null"]}
    upload = {"upload_url": {**URL, "description": "Where to post the form"}, "expires_at": TIME}
    needed = ("data", "meta")
    return {
        "AttachmentDocument": {
            **document(schema("Attachment"), included=included),
            "required": needed,
        },
        "CreatedDocument": members(
            {
                "data": schema("Attachment"),
                "meta": members({**upload, "status_url": STATUS_URL}),
                "included": included,
            },
            required=needed,
        ),
        "CreatedBulkDocument": members(
            {"data": attachments, "meta": members(upload), "included": included}, required=needed
        ),
        "AttachmentListDocument": members(
            {
                "data": attachments,
                "links": members(
                    {"first": URL, "last": URL, "prev": link, "next": link}, required=("first",)
                ),
                "meta": members(
                    {
                        "current_page": COUNT,
                        "total_pages": COUNT,
                        "total_count": COUNT,
                        "total_is_estimate": {"type": "boolean", "const": True},
                        "page_size": COUNT,
                        "max_page_size": {"type": "integer", "const": MAX_PAGE_SIZE},
                    },
                    required=("page_size", "max_page_size"),
                ),
                "included": included,
            },
            required=("data", "links", "meta"),
        ),
        "StatusDocument": document(
            resource(
                "attachments",
                {
                    "attributes": members({"url": URL, "thumb": or_null(URL)}),
                    "meta": members(
                        {
                            "state": schema("State"),
                            "reason": or_null(schema("Reason")),
                            "thumbs": schema("Thumbs"),
                        }
                    ),
                },
            )
        ),
    }


def _relationship(name: str) -> Json:
    shown = members({"data": or_null(schema(f"{title_of(name)}Identifier"))})
    return {"anyOf": [shown, schema("NotIncluded")]}


def title_of(name: str) -> str:
    """Return the beginning of the names of a relationship's schemas: `SomeName` for `some_name`."""
    return "".join(word.capitalize() for word in name.split("_"))
