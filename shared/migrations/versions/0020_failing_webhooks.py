"""How long the deliveries of a webhook have failed, without the times in which none was tried."""

from alembic import op

revision = "0020"
down_revision = "0019"

STATEMENTS = (
    # Null in a webhook that fails since before: its count begins with the next failure. Workers of
    # the previous release set neither column; they set failing_since, which decides if both count.
    """
    ALTER TABLE webhooks
        ADD COLUMN failed_at   timestamptz,
        ADD COLUMN failing_for interval NOT NULL DEFAULT interval '0'
    """,
    "COMMENT ON COLUMN webhooks.failed_at IS 'The last failure that was counted; it has no meaning"
    " while failing_since is null.'",
    "COMMENT ON COLUMN webhooks.failing_for IS 'The time between the failures since failing_since,"
    " at most a day from one to the next.'",
)


def upgrade() -> None:
    """Add the columns; the statements of the previous release still work."""
    for statement in STATEMENTS:
        op.execute(statement)
