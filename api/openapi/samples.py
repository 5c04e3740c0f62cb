"""The examples in the OpenAPI document: a photo when created and when ready, a webhook, …"""

from typing import Any

from shared.documents import RELATIONSHIPS
from shared.quotas import Quotas
from shared.reasons import REASONS
from shared.version import VERSION
from shared.webhooks.kinds import EVENTS, TEST

API = "https://uploads.example"
CREATED_AT = "2026-04-17T06:02:48.589+02:00"
KEY = "attachments/files/000/000/004/original/photo.jpg"
SIGNED = "1776398570&s=ANZbhmIGlqXmCkyjMZ5--xqV"
ENDS = "1776405768"
SIGNATURE = "WbYq3mJx0dT4nZcV8kLr2uHf"
STATUS_URL = f"{API}/attachments/status/4?1776398568&e={ENDS}&s={SIGNATURE}"
TOKEN = "Zk3v8QxT0mJrY5nWc2uLh7Gd"  # noqa: S105 - no secret: an invented value

NEW = {
    "data": {
        "type": "attachments",
        "attributes": {"name": "photo.jpg", "attachable_type": "comment", "attachable_id": 5},
    }
}
NEW_BULK = {"data": [NEW["data"]]}
CHANGED = {"data": {"type": "attachments", "id": "4", "attributes": {"name": "beach.jpg"}}}

POLICY = {
    "key": KEY,
    "success_action_status": "201",
    "policy": "eyJleHBpcmF0aW9uIjoiMjAyNi0wNC0xN1QwNTowMjo0OFoiLCJjb25kaXRpb25zIjpbXX0=",
    "x-amz-credential": "KEYOFTHESERVICE/20260417/us-east-1/s3/aws4_request",
    "x-amz-algorithm": "AWS4-HMAC-SHA256",
    "x-amz-date": "20260417T040248Z",
    "x-amz-signature": "ebefa4d806a9347635efb8795fee136804f55a4dc9031615e1bb4e3f7947072f",
}

THUMBS = {
    "thumb": {
        "url": f"{API}/{KEY}?{SIGNED}".replace("original", "thumb"),
        "width": 320,
        "height": 240,
    }
}


def _attachment(*, ready: bool) -> dict[str, Any]:
    url = f"{API}/{KEY}"
    signed = f"{url}?{SIGNED}" if ready else None
    return {
        "id": "4",
        "type": "attachments",
        "attributes": {
            "name": "photo.jpg",
            "content_type": "image/jpeg" if ready else None,
            "size": 14489 if ready else None,
            "url": signed or url,
            "thumb": signed and signed.replace("original", "thumb"),
            "temp_url": signed,
            "resized": ready,
            "created_at": CREATED_AT,
            "deleted_at": None,
            "attachment_type": None,
            "message_id": None,
            "external_id": "A-17",
            "attachable_type": "comment",
        },
        "relationships": {
            "organization": {"data": {"type": "organizations", "id": "1"}},
            **{name: {"meta": {"included": False}} for name in RELATIONSHIPS},
        },
        "meta": {
            "state": "ready" if ready else "pending",
            "reason": None,
            "width": 800 if ready else None,
            "height": 600 if ready else None,
            "pages": None,
            "checksum_sha256": "d8325e67bd3edbc4fa1dec741e1de96b774492d22d4d166d1880f412db16fd5a"
            if ready
            else None,
            "duration": None,
            "thumbhash": "KPgNJZKNl4kNuGiJd4d7iWn59fZo" if ready else None,
            "thumbs": THUMBS if ready else {},
            "processed_at": "2026-04-17T06:02:51.488+02:00" if ready else None,
        },
    }


ATTACHMENT = {"data": _attachment(ready=True), "meta": {}}
UPLOAD = {
    "upload_url": "https://uploads.s3.us-east-1.amazonaws.com",
    "expires_at": "2026-04-17T07:02:48.000+02:00",
}
_pending = _attachment(ready=False)
_pending["attributes"]["aws_policy"] = POLICY
CREATED = {"data": _pending, "meta": {**UPLOAD, "status_url": STATUS_URL}}
_in_bulk = {**_pending, "meta": {**_pending["meta"], "status_url": STATUS_URL}}
CREATED_BULK = {"data": [_in_bulk], "meta": UPLOAD}
LIST_URL = f"{API}/api/v2/attachments?page%5Bnumber%5D=1&page%5Bsize%5D=30"
LIST = {
    "data": [ATTACHMENT["data"]],
    "links": {"first": LIST_URL, "last": LIST_URL},
    "meta": {
        "current_page": 1,
        "total_pages": 1,
        "total_count": 1,
        "page_size": 30,
        "max_page_size": 200,
    },
}
STATUS = {
    "data": {
        "id": "4",
        "type": "attachments",
        "attributes": {name: ATTACHMENT["data"]["attributes"][name] for name in ("url", "thumb")},
        "meta": {"state": "ready", "reason": None, "thumbs": THUMBS},
    },
    "meta": {},
}

NEW_WEBHOOK = {
    "data": {
        "type": "webhooks",
        "attributes": {
            "target_url": "https://receiver.example/hook",
            "events": ["attachment.ready", "attachment.rejected"],
        },
    }
}
CHANGED_WEBHOOK = {"data": {"type": "webhooks", "id": "1", "attributes": {"active": False}}}
_webhook = {
    "id": "1",
    "type": "webhooks",
    "attributes": {
        "target_url": "https://receiver.example/hook",
        "events": list(EVENTS),
        "description": None,
        "active": True,
        "created_at": CREATED_AT,
    },
    "meta": {"failing_since": None, "deactivated": None, "previous_secret_ends_at": None},
}
WEBHOOK = {"data": _webhook, "meta": {}}
WEBHOOK_LIST = {"data": [_webhook], "meta": {"total_count": 1, "max_count": 20}}

MESSAGE_ID = "msg_4f1c0c4e5b0b4c6fb9e2a4d1c7a90b3e"
HAPPENED_AT = "2026-04-17T06:02:49.907+02:00"
TEST_EVENT = {
    "type": TEST,
    "timestamp": HAPPENED_AT,
    "data": {"id": "1", "type": "webhooks"},
}


def news(event: str) -> dict[str, Any]:
    """Return the body that a webhook gets for an event of an attachment."""
    data = _attachment(ready=event in ("attachment.ready", "attachment.deleted"))
    if event == "attachment.deleted":
        data["attributes"]["deleted_at"] = HAPPENED_AT
    else:
        state = event.removeprefix("attachment.")
        data["meta"] |= {"state": state, "reason": _REASONS.get(state)}
    for name in ("creator", "comment"):
        kind = RELATIONSHIPS[name]
        data["relationships"][name] = {"data": {"type": kind, "id": "5"}}
    return {"type": event, "timestamp": HAPPENED_AT, "data": data}


_REASONS = {
    "rejected": {"code": "too_large", "detail": REASONS["too_large"].sentence},
    "failed": {"code": "missing", "detail": REASONS["missing"].sentence},
}

_delivery = {
    "id": "9",
    "type": "webhook_deliveries",
    "attributes": {
        "event": "attachment.ready",
        "message_id": MESSAGE_ID,
        "state": "pending",
        "attempts": 1,
        "last_status": 500,
        "last_fault": "status",
        "last_attempt_at": "2026-04-17T06:02:50.112+02:00",
        "next_attempt_at": "2026-04-17T06:02:55.112+02:00",
        "created_at": HAPPENED_AT,
    },
    "relationships": {
        "webhook": {"data": {"type": "webhooks", "id": "1"}},
        "attachment": {"data": {"type": "attachments", "id": "4"}},
    },
}
DELIVERY = {"data": _delivery, "meta": {}}
DELIVERY_LIST = {
    "data": [_delivery],
    "links": {"first": f"{API}/api/v2/webhooks/1/deliveries?page%5Bafter%5D=", "next": None},
    "meta": {"page_size": 30},
}
RETRY = {"data": {"type": "webhook_deliveries", "attributes": {"since": "2026-04-17T06:02:48Z"}}}
RETRIED = {"data": None, "meta": {"retried": 3}}

USAGE = {
    "data": {
        "id": "1",
        "type": "usage",
        "attributes": {
            "attachments": 3,
            "bytes": 4521,
            "uploads_today": 3,
            "limits": dict.fromkeys(Quotas.__dataclass_fields__),
            "as_of": CREATED_AT,
        },
    },
    "meta": {},
}
EVENT = {
    "Records": [
        {
            "eventName": "s3:ObjectCreated:Post",
            "s3": {"bucket": {"name": "uploads"}, "object": {"key": KEY, "size": 14489}},
        }
    ]
}
EVENTS_TAKEN = {"meta": {"recorded": 1, "no_effect": 0, "ignored": 0, "unreadable": 0}}

DESCRIPTION = {
    "openapi": "3.1.0",
    "info": {"title": "Attachments", "version": VERSION},
    "paths": {},
}
PAGE = "<!DOCTYPE html>"
SCRIPT = "export {};"
STYLE_FILE = "swagger-ui.css"
STYLE = ".swagger-ui { display: block }"
"""Short examples of files: a page, a script and a style sheet."""
