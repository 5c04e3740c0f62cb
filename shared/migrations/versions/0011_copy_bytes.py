"""Count the bytes of a copy for the quota from the time when the copy is requested."""

from alembic import op

revision = "0011"
down_revision = "0010"

STATEMENTS = (
    # The column is null in rows of the previous release. A copy that it requests counts only after
    # it is measured.
    "ALTER TABLE attachments ADD COLUMN copy_bytes bigint",
    # The same function as in 0006, with copy_bytes. A finished copy counts copy_bytes until a
    # worker has measured the object. A row that has no object and waits for none does not count
    # copy_bytes.
    """
    CREATE OR REPLACE FUNCTION attachment_bytes(a attachments) RETURNS bigint
    LANGUAGE sql IMMUTABLE AS $$
        SELECT CASE WHEN a.deleted_at IS NOT NULL AND a.due_at IS NULL THEN 0
                    WHEN a.state = 'expired' OR (
                        a.state = 'failed'
                        AND a.reason IN ('missing', 'source_missing', 'copy_failed')
                    ) THEN CASE WHEN a.copy_key IS NULL THEN 0 ELSE coalesce(a.copy_bytes, 0) END
                    ELSE greatest(coalesce(a.size, a.promised_bytes, a.limit_size, 0),
                                  a.copy_bytes) END
    $$
    """,
    "DROP TRIGGER attachments_changed ON attachments",
    # The same trigger as in 0005, with two more lines in its condition.
    """
    CREATE TRIGGER attachments_changed AFTER UPDATE ON attachments FOR EACH ROW
    WHEN (OLD.size IS DISTINCT FROM NEW.size
          OR OLD.deleted_at IS DISTINCT FROM NEW.deleted_at
          OR (OLD.state <> NEW.state AND (OLD.state IN ('expired', 'failed')
                                          OR NEW.state IN ('expired', 'failed')))
          OR OLD.reason IS DISTINCT FROM NEW.reason
          OR (OLD.deleted_at IS NOT NULL AND (OLD.due_at IS NULL) <> (NEW.due_at IS NULL))
          OR OLD.promised_bytes IS DISTINCT FROM NEW.promised_bytes
          OR OLD.limit_size IS DISTINCT FROM NEW.limit_size
          OR OLD.organization_id <> NEW.organization_id
          OR OLD.copy_bytes IS DISTINCT FROM NEW.copy_bytes
          OR (NEW.copy_bytes IS NOT NULL AND (OLD.copy_key IS NULL) <> (NEW.copy_key IS NULL)))
    EXECUTE FUNCTION count_changed()
    """,
)


def upgrade() -> None:
    """Add the column, and count it. The statements of the previous release still work."""
    for statement in STATEMENTS:
        op.execute(statement)
