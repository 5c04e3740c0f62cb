"""The verdict of the scanner about the object of an attachment."""

from alembic import op

revision = "0019"
down_revision = "0018"

STATEMENTS = (
    # Null in rows of the previous release and without a scanner. The statements of the previous
    # release do not name the columns.
    "ALTER TABLE attachments ADD COLUMN scan_verdict text, ADD COLUMN scan_signature text",
    "COMMENT ON COLUMN attachments.scan_verdict IS"
    " 'clean, infected, unscannable or unscanned; null if the object was not to be scanned.'",
    "COMMENT ON COLUMN attachments.scan_signature IS"
    " 'The name that the scanner gave with its verdict.'",
)


def upgrade() -> None:
    """Add the columns."""
    for statement in STATEMENTS:
        op.execute(statement)
