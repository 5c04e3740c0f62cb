"""Add the context of the trace to which an upload belongs."""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the column. The statements of the previous release do not name it."""
    op.execute("ALTER TABLE attachments ADD COLUMN traceparent text")
    op.execute(
        "COMMENT ON COLUMN attachments.traceparent IS"
        " 'The context of the trace of the current upload; null without traces.'"
    )
