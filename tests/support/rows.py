"""Rows of `attachments` that tests make without a database."""

from datetime import UTC, datetime, timedelta
from typing import Any

from shared.attachments import Attachment

CREATED_AT = datetime(2026, 4, 17, 6, 2, 48, tzinfo=UTC)


def attachment(attachment_id: int = 1, **more: Any) -> Attachment:
    """Make the row of a pending attachment; keyword arguments replace the default values."""
    values = {
        "organization_id": 1,
        "bucket": "bucket",
        "name": "img.png",
        "file_name": "img.png",
        "created_at": CREATED_AT,
        "policy_expires_at": CREATED_AT + timedelta(hours=1),
        **more,
    }
    return Attachment(id=attachment_id, **values)
