"""The columns for the object that a worker must copy to an attachment's key."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    # Columns without a default that is stored: the table is not rewritten, and the previous
    # release, which names its columns, does not see them.
    """
    ALTER TABLE attachments
        ADD COLUMN copy_bucket text,
        ADD COLUMN copy_key text,
        ADD COLUMN copy_etag text,
        ADD COLUMN copy_revision bigint,
        ADD COLUMN copy_attempt bigint NOT NULL DEFAULT 0
    """,
    # As in 0005, and a failed copy has no object either, so it counts no bytes.
    """
    CREATE OR REPLACE FUNCTION attachment_bytes(a attachments) RETURNS bigint
    LANGUAGE sql IMMUTABLE AS $$
        SELECT CASE WHEN a.deleted_at IS NOT NULL AND a.due_at IS NULL THEN 0
                    WHEN a.state = 'expired' THEN 0
                    WHEN a.state = 'failed'
                         AND a.reason IN ('missing', 'source_missing', 'copy_failed') THEN 0
                    ELSE coalesce(a.size, a.promised_bytes, a.limit_size, 0) END
    $$
    """,
)


def upgrade() -> None:
    """Add the columns; failed copies count no bytes from now on."""
    for statement in STATEMENTS:
        op.execute(statement)
