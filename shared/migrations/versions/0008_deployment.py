"""The id of this deployment, which keeps its queues apart from others at the same broker."""

from alembic import op

revision = "0008"
down_revision = "0007"

STATEMENTS = (
    # At most one row: `one` can only be true, and is the key. The previous release does not use the
    # table.
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
    """Create the id, once."""
    for statement in STATEMENTS:
        op.execute(statement)
