"""Describe the operations on attachments: list, show, create, change, delete, renew a policy."""

from api.openapi import samples
from api.openapi.components import LIMITS, SHARED, filters
from api.openapi.shapes import BULK, Json, answer, content, errors, operation, parameter, schema

TAG = "attachments"
REFUSED = (401, 403, 406, 429)
"""The statuses of errors that any request with an API token may get, in addition to ALWAYS."""

VIEW = [parameter("include"), parameter("fields"), parameter("request_id")]


def paths() -> Json:
    """Return the paths of attachments, with their operations."""
    return {
        "/api/v2/attachments": {"get": _list(), "post": _create()},
        "/api/v2/attachments/{id}": {
            "parameters": [parameter("id")],
            "get": _show(),
            "patch": _change(),
            "delete": _delete(),
        },
        "/api/v2/attachments/{id}/aws_policy": {"parameters": [parameter("id")], "post": _renew()},
    }


def _list() -> Json:
    page = content(schema("AttachmentListDocument"), samples.LIST)
    return operation(
        "list_attachments",
        "List attachments",
        tag=TAG,
        description="By page number with totals, or by cursor without. `[eq]` may be written after"
        " the name of a filter; `filter[task_id][]=1` and `filter[task_id][0]=1` add up.",
        parameters=[
            *(parameter(name) for name in ("sort", "page_number", "page_size")),
            *(parameter(name) for name in ("page_after", "page_before")),
            *VIEW,
            *filters(),
        ],
        responses={"200": answer("A page of attachments", page, *LIMITS, *SHARED)}
        | errors(*REFUSED),
    )


def _create() -> Json:
    body = {
        **content(schema("NewAttachmentDocument"), samples.NEW),
        **content(schema("NewBulkDocument"), samples.NEW_BULK, BULK),
    }
    created = {
        **content(schema("CreatedDocument"), samples.CREATED),
        **content(schema("CreatedBulkDocument"), samples.CREATED_BULK, BULK),
    }
    return operation(
        "create_attachment",
        "Create an attachment, or up to 100 in bulk",
        tag=TAG,
        description="Post all fields of `aws_policy`, and the file last, to `meta.upload_url`. For"
        f" bulk, Content-Type and Accept are `{BULK}`, and all are created or none.",
        parameters=[*VIEW, parameter("key")],
        body=body,
        responses={"201": answer("Created", created, "Location", "ETag", *LIMITS, *SHARED)}
        | errors(*REFUSED, 404, 409, 413, 415, 422),
    )


def _show() -> Json:
    shown = content(schema("AttachmentDocument"), samples.ATTACHMENT)
    headers = ("ETag", "Preference-Applied", *LIMITS, *SHARED)
    return operation(
        "show_attachment",
        "Show an attachment, and wait for its final state if asked to",
        tag=TAG,
        parameters=[
            *VIEW,
            *(parameter(name) for name in ("wait", "prefer", "if_match", "if_none_match")),
        ],
        responses={
            "200": answer("The attachment", shown, *headers),
            "304": answer("The client's copy is current", None, *headers),
        }
        | errors(*REFUSED, 404, 412),
    )


def _change() -> Json:
    shown = content(schema("AttachmentDocument"), samples.ATTACHMENT)
    return operation(
        "update_attachment",
        "Change an attachment, or report by `temp_url` where its file is",
        tag=TAG,
        description="Members that equal what the attachment shows are not changes.",
        parameters=[*VIEW, parameter("if_match"), parameter("if_none_match")],
        body=content(schema("ChangedAttachmentDocument"), samples.CHANGED),
        responses={"200": answer("The attachment", shown, "ETag", *LIMITS, *SHARED)}
        | errors(*REFUSED, 404, 409, 412, 413, 415, 422),
    )


def _delete() -> Json:
    return operation(
        "delete_attachment",
        "Delete an attachment",
        tag=TAG,
        parameters=[
            *(parameter(name) for name in ("if_match", "if_none_match", "request_id")),
        ],
        responses={"204": answer("Deleted", None, *LIMITS, *SHARED)} | errors(*REFUSED, 404, 412),
    )


def _renew() -> Json:
    created = content(schema("CreatedDocument"), samples.CREATED)
    return operation(
        "create_policy",
        "Make a new policy for an attachment",
        tag=TAG,
        description="For an upload that broke off, an attachment that is `expired`, and a new file"
        " in place of the present one.",
        parameters=[*VIEW, parameter("key")],
        body=content(schema("NewPolicyDocument"), {}),
        body_required=False,
        responses={"200": answer("The attachment with its policy", created, *LIMITS, *SHARED)}
        | errors(*REFUSED, 404, 409, 413, 415, 422),
    )
