"""The duration of films."""

from alembic import op

revision = "0022"
down_revision = "0021"

STATEMENTS = (
    "ALTER TABLE attachments ADD COLUMN duration double precision",
    "COMMENT ON COLUMN attachments.duration IS 'The length of a film in seconds.'",
)


def upgrade() -> None:
    """Add the column; the statements of the previous release still work."""
    for statement in STATEMENTS:
        op.execute(statement)
