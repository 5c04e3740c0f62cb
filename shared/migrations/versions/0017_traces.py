"""The context of the trace that an upload belongs to."""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the column; the statements of the previous release do not name it."""
    op.execute("ALTER TABLE attachments ADD COLUMN traceparent text")
    op.execute(
        "COMMENT ON COLUMN attachments.traceparent IS"
        " 'The context of the trace of the current upload; null without traces.'"
    )
