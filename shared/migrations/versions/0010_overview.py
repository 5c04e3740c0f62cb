"""Indexes by which operators list and count attachments: state, reason, organization."""

from alembic import op

revision = "0010"
down_revision = "0009"

STATEMENTS = (
    # They are made within the one transaction of all migrations, while which writes wait: about
    # two seconds for each million rows. Whoever writes then is told 503, and comes again.
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
    # A hash, since a name may be longer than what a B-tree holds.
    "CREATE INDEX organizations_by_name ON organizations USING hash (name)",
    # The first of them serves its one query, also that of the previous release. It comes last,
    # because from here to the end readers wait as well.
    "DROP INDEX attachments_failed",
)


def upgrade() -> None:
    """Make the indexes; the previous release's statements go on as they are."""
    for statement in STATEMENTS:
        op.execute(statement)
