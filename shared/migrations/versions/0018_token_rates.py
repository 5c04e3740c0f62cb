"""Let a token have a rate limit of its own."""

from alembic import op

revision = "0018"
down_revision = "0017"

STATEMENTS = (
    # Null, as in rows of the previous release, means that only the organization's limit applies.
    "ALTER TABLE tokens ADD COLUMN rate_limit integer CHECK (rate_limit > 0)",
    # The same trigger as in 0003, with the new column.
    """
    CREATE OR REPLACE TRIGGER tokens_changed
    AFTER DELETE OR UPDATE OF
        id, organization_id, person_id, digest, revoked_at, expires_at, scope, rate_limit
    OR TRUNCATE ON tokens
    FOR EACH STATEMENT EXECUTE FUNCTION announce_tokens()
    """,
    "COMMENT ON COLUMN tokens.rate_limit IS 'Requests per second; null if only the limit of the"
    " organization applies.'",
)


def upgrade() -> None:
    """Add the column. The statements of the previous release still work."""
    for statement in STATEMENTS:
        op.execute(statement)
