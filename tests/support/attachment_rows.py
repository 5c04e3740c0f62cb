"""A row of `attachments`, and settings, for tests of JSON:API documents and of links."""

from datetime import UTC, datetime
from typing import Any

from shared.attachments import Attachment
from shared.documents import Documents
from shared.settings import Settings
from tests.support.service import make_settings

ORIGIN = "http://api.example"
KEY = "attachments/files/000/000/001/original/img.png"
CHANGED = datetime.fromtimestamp(1_776_398_568, UTC)
NOW = datetime(2026, 4, 20, tzinfo=UTC)


def make_link_settings(**changes: str) -> Settings:
    """Make settings; each keyword argument is a setting with its name in lower case."""
    required = {
        "database_url": "postgresql://127.0.0.1/attachments",
        "broker_url": "redis://127.0.0.1",
        "files_secret": "files-secret-of-the-tests",
        "s3_bucket": "our-bucket",
    }
    return make_settings(
        {f"ATTACHMENTS_{name.upper()}": value for name, value in {**required, **changes}.items()}
    )


ROW = Attachment(
    id=1,
    organization_id=14,
    creator_id=None,
    bucket="our-bucket",
    name="img.png",
    file_name="img.png",
    thumbnail_name=None,
    attachable_type="comment",
    attachable_id=None,
    attachment_type=None,
    message_id=None,
    external_id=None,
    temp_url=None,
    content_type=None,
    size=None,
    width=None,
    height=None,
    pages=None,
    checksum_sha256=None,
    duration=None,
    thumbhash=None,
    state="pending",
    reason=None,
    resized=False,
    revision=0,
    claimed_revision=0,
    attempt=0,
    due_at=None,
    etag=None,
    version_id=None,
    sequencer=None,
    created_at=datetime(2026, 4, 17, 4, 2, 48, 589_999, tzinfo=UTC),
    policy_expires_at=datetime(2026, 4, 17, 5, 2, 48, tzinfo=UTC),
    uploaded_at=None,
    processed_at=None,
    deleted_at=None,
)


def write_resource(
    row: Attachment, *, made: Settings | None = None, **asked: Any
) -> dict[str, Any]:
    """Return the JSON:API resource that the API makes of a row in `attachments`."""
    return Documents(made or make_link_settings()).resource(row, origin=ORIGIN, now=NOW, **asked)
