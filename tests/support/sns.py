"""Messages of SNS about uploads."""

import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.dialects import AWS, sample
from tests.support.stack import BUCKET

Document = dict[str, Any]


def written(when: datetime) -> str:
    """Write a time as SNS does."""
    return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z"


def ago(**duration: float) -> str:
    """Write the time so long ago."""
    return written(datetime.now(UTC) - timedelta(**duration))


def notification(key: str, **changes: Any) -> Document:
    """Make a message of an upload, not signed yet; ... takes a member out."""
    inner = AWS.message(AWS.make_event(BUCKET, key, etag="e1", sequencer="0A"))
    usual = {
        "Message": json.dumps(inner),
        "Timestamp": ago(seconds=1),
        "MessageId": secrets.token_hex(8),
    }
    document = {**sample("sns-v2"), **usual, **changes}
    return {name: value for name, value in document.items() if value is not ...}
