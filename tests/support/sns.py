"""Functions that make SNS messages about uploads."""

import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.dialects import AWS, sample
from tests.support.stack import BUCKET

Document = dict[str, Any]


def written(when: datetime) -> str:
    """Format a time as SNS does."""
    return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z"


def ago(**duration: float) -> str:
    """Return the present time minus a duration, in the format of SNS."""
    return written(datetime.now(UTC) - timedelta(**duration))


def notification(key: str, **changes: Any) -> Document:
    """Return an unsigned SNS message about an upload.

    `changes` replace members of the message; the value `...` removes a member.
    """
    inner = AWS.message(AWS.make_event(BUCKET, key, etag="e1", sequencer="0A"))
    usual = {
        "Message": json.dumps(inner),
        "Timestamp": ago(seconds=1),
        "MessageId": secrets.token_hex(8),
    }
    document = {**sample("sns-v2"), **usual, **changes}
    return {name: value for name, value in document.items() if value is not ...}
