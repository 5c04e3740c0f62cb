"""A placeholder that pages draw until they have loaded a thumbnail."""

from alembic import op

revision = "0021"
down_revision = "0020"

STATEMENTS = (
    "ALTER TABLE attachments ADD COLUMN thumbhash text",
    "COMMENT ON COLUMN attachments.thumbhash IS 'A placeholder of the thumbnail in some 25 bytes,"
    " as Base64 (the format ThumbHash).'",
)


def upgrade() -> None:
    """Add the column; the statements of the previous release still work."""
    for statement in STATEMENTS:
        op.execute(statement)
