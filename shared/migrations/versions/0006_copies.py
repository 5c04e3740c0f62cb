"""Add the columns for a requested copy: the object that is to be copied to an attachment's key."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    # The default is not written into the rows, so the table is not rewritten. The previous release
    # names the columns in its statements, so it does not see the new ones.
    """
    ALTER TABLE attachments
        ADD COLUMN copy_bucket text,
        ADD COLUMN copy_key text,
        ADD COLUMN copy_etag text,
        ADD COLUMN copy_revision bigint,
        ADD COLUMN copy_attempt bigint NOT NULL DEFAULT 0
    """,
    # The same function as in 0005. But a failed copy counts no bytes either, because there is no
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
    """Add the columns, and count no bytes for failed copies."""
    for statement in STATEMENTS:
        op.execute(statement)
