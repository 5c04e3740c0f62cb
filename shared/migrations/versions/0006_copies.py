"""The columns for the object that a worker must copy to an attachment's key."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    # The columns have no stored default, so the table is not rewritten. The previous release names
    # its columns in every statement, so it does not see the new ones.
    """
    ALTER TABLE attachments
        ADD COLUMN copy_bucket text,
        ADD COLUMN copy_key text,
        ADD COLUMN copy_etag text,
        ADD COLUMN copy_revision bigint,
        ADD COLUMN copy_attempt bigint NOT NULL DEFAULT 0
    """,
    # The same as in 0005, except that a failed copy counts no bytes either, because it has no
    # object.
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
