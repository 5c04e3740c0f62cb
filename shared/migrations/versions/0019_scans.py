"""Add the malware scanner's verdict about an attachment's object."""

from alembic import op

revision = "0019"
down_revision = "0018"

STATEMENTS = (
    # The columns are null in rows of the previous release, and if there is no scanner. The previous
    # release does not name these columns in its statements.
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
