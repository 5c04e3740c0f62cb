"""Indexes for the operator's lists and counts: by state, reason and organization."""

from alembic import op

revision = "0010"
down_revision = "0009"

STATEMENTS = (
    # All migrations run in one transaction, so writes wait while the indexes are built: about two
    # seconds for each million rows. A client that writes then gets 503 and retries.
    "CREATE INDEX attachments_by_state ON attachments (state, id) WHERE deleted_at IS NULL",
    """
    CREATE INDEX attachments_by_organization_state ON attachments (organization_id, state, id)
    WHERE deleted_at IS NULL
    """,
    # These two indexes are small, because few rows have a reason.
    """
    CREATE INDEX attachments_by_reason ON attachments (reason, id)
    WHERE reason IS NOT NULL AND deleted_at IS NULL
    """,
    """
    CREATE INDEX attachments_by_organization_reason ON attachments (organization_id, reason, id)
    WHERE reason IS NOT NULL AND deleted_at IS NULL
    """,
    # A hash index, because a name may be longer than a B-tree allows.
    "CREATE INDEX organizations_by_name ON organizations USING hash (name)",
    # `attachments_by_state` also serves the one query that used `attachments_failed`, in the
    # previous release too. This statement is the last, because from here on readers wait as well.
    "DROP INDEX attachments_failed",
)


def upgrade() -> None:
    """Create the indexes. The statements of the previous release still work."""
    for statement in STATEMENTS:
        op.execute(statement)
