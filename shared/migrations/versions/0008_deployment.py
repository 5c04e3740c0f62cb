"""The id of this deployment, which separates its queues from those of others at one broker."""

from alembic import op

revision = "0008"
down_revision = "0007"

STATEMENTS = (
    # The table has at most one row, because `one` is the key and can only be true. The previous
    # release does not use the table.
    """
    CREATE TABLE deployment (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        id  text NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', '')
            CHECK (id ~ '^[0-9a-f]{32}$')
    )
    """,
    "INSERT INTO deployment DEFAULT VALUES",
)


def upgrade() -> None:
    """Create the table, and the id in it."""
    for statement in STATEMENTS:
        op.execute(statement)
