"""The schemas of attachments in requests. They are lenient, as contract.md describes."""

from api.attachables import LINKS
from api.attributes import MAX_INTEGER, MAX_TEXT, MAX_URL
from api.creating import MAX_BULK
from api.limits import MAX_PATTERNS
from api.openapi.attachment_schemas import COUNT, title_of
from api.openapi.shapes import BLANK, TEXT, Json, members, or_null, schema

LINE: Json = {"type": "string", "maxLength": MAX_TEXT, "pattern": r"^[^\u0000\r\n]*$"}

ATTACHABLE_ID: Json = {
    "description": "The id of what it belongs to; digits count as the number, a blank text as null",
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": MAX_INTEGER},
        {"type": "string", "pattern": r"^(\s*|[0-9]{1,40})$"},
        {"type": "null"},
    ],
}
OWN_TEXT: Json = {
    "description": "A text for the client's own use; a whole number counts as its digits",
    "anyOf": [LINE, {"type": "integer"}, {"type": "null"}],
}


def sent() -> dict[str, Json]:
    """Return the schemas of attachments in requests.

    Unknown members are ignored, so the schemas allow them.
    """
    blank_or_null = {"anyOf": [BLANK, {"type": "null"}]}
    changeable: dict[str, Json] = {
        "name": {**LINE, "minLength": 1, "pattern": r"^[^\u0000\r\n]*[^\s\u0000][^\u0000\r\n]*$"},
        "attachable_type": or_null(schema("AttachableType")),
        "attachable_id": ATTACHABLE_ID,
        "attachment_type": {"anyOf": [schema("AttachmentType"), *blank_or_null["anyOf"]]},
        "message_id": OWN_TEXT,
        "external_id": OWN_TEXT,
        "temp_url": {
            "type": ["string", "null"],
            "maxLength": MAX_URL,
            "description": "Where the file is already",
        },
        **{f"{name}_id": ATTACHABLE_ID for name in LINKS},
    }
    size: Json = {
        "description": "The expected size in bytes; digits count as the number",
        "anyOf": [
            COUNT,
            {"type": "string", "pattern": r"^(\s*|[0-9]{1,40})$"},
            {"type": "null"},
        ],
    }
    content_type: Json = {**or_null(LINE), "description": "The expected type"}
    linked = {
        name: members(
            {"data": or_null(schema(f"{title_of(name)}Identifier")), "meta": {"type": "object"}},
            required=(),
        )
        for name in LINKS
    }
    limits: Json = {
        **members(
            {
                "max_size": or_null({"type": "integer", "minimum": 1}),
                "content_types": or_null(
                    {"type": "array", "minItems": 1, "maxItems": MAX_PATTERNS, "items": TEXT}
                ),
            },
            required=(),
        ),
        "additionalProperties": False,
    }
    kind: Json = {"type": "string", "const": "attachments"}
    relationships = members(linked, required=())
    return {
        "NewLimits": {**limits, "description": "Limits stricter than the service's own"},
        "NewMeta": members({"limits": or_null(schema("NewLimits"))}, required=()),
        "NewRelationships": relationships,
        "NewAttachmentAttributes": members(
            {**changeable, "size": size, "content_type": content_type}, required=("name",)
        ),
        "NewAttachment": members(
            {
                "type": kind,
                "attributes": schema("NewAttachmentAttributes"),
                "relationships": schema("NewRelationships"),
                "meta": schema("NewMeta"),
            },
            required=("type", "attributes"),
        ),
        "NewAttachmentDocument": members(
            {"data": schema("NewAttachment"), "meta": schema("NewMeta")}, required=("data",)
        ),
        "NewBulkDocument": members(
            {
                "data": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MAX_BULK,
                    "items": schema("NewAttachment"),
                }
            },
        ),
        "ChangedAttributes": members(changeable, required=()),
        "ChangedAttachment": members(
            {
                "type": kind,
                "id": schema("Id"),
                "attributes": schema("ChangedAttributes"),
                "relationships": schema("NewRelationships"),
            },
            required=("type",),
        ),
        "ChangedAttachmentDocument": members({"data": schema("ChangedAttachment")}),
        "NewPolicyDocument": members(
            {"data": members({"type": kind, "id": schema("Id")}, required=("type",))}, required=()
        ),
    }
