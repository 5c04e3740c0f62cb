"""Store the origins of dead letters, and the operators who created and revoked tokens."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    # With the defaults, the previous release can still insert rows.
    """
    ALTER TABLE dead_letters
        ADD COLUMN origin text NOT NULL DEFAULT 'unknown',
        ADD COLUMN size bigint NOT NULL DEFAULT 0
    """,
    "UPDATE dead_letters SET size = length(body)",
    # The index includes the size, so the bytes of an origin are summed from the index alone.
    "CREATE INDEX dead_letters_by_origin ON dead_letters (origin, last_at, id) INCLUDE (size)",
    # These columns are null for tokens that earlier releases created or revoked.
    "ALTER TABLE tokens ADD COLUMN created_by text, ADD COLUMN revoked_by text",
)


def upgrade() -> None:
    """Add the columns and the index."""
    for statement in STATEMENTS:
        op.execute(statement)
