"""Indexes by which operators list and count attachments: state, reason, organization."""

from alembic import op

revision = "0010"
down_revision = "0009"

STATEMENTS = (
    # The indexes are created in the one transaction of all migrations. Writes wait meanwhile, about
    # two seconds for each million rows. A client that writes then gets 503 and retries.
    "CREATE INDEX attachments_by_state ON attachments (state, id) WHERE deleted_at IS NULL",
    """
    CREATE INDEX attachments_by_organization_state ON attachments (organization_id, state, id)
    WHERE deleted_at IS NULL
    """,
    # Few rows have a reason.
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
    # The first of these indexes serves the one query that used `attachments_failed`, also in the
    # previous release. This statement comes last, because from here to the end readers wait as
    # well.
    "DROP INDEX attachments_failed",
)


def upgrade() -> None:
    """Create the indexes; the statements of the previous release still work."""
    for statement in STATEMENTS:
        op.execute(statement)
