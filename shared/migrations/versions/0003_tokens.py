"""Tokens that end, are limited to a scope, and show when they were last used."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    # Because of the defaults, the previous release can still insert rows, and old tokens stay as
    # they were.
    """
    ALTER TABLE tokens
        ADD COLUMN expires_at   timestamptz CHECK (isfinite(expires_at)),
        ADD COLUMN last_used_at timestamptz,
        ADD COLUMN scope        text NOT NULL DEFAULT 'admin'
            CHECK (scope IN ('read', 'write', 'admin'))
    """,
    # The columns are those that decide who is admitted, as whom, and to what. A write to
    # last_used_at must not make every API process look up all its tokens again. A new token is not
    # announced, because unknown tokens are never cached.
    """
    CREATE OR REPLACE TRIGGER tokens_changed
    AFTER DELETE OR UPDATE OF
        id, organization_id, person_id, digest, revoked_at, expires_at, scope
    OR TRUNCATE ON tokens
    FOR EACH STATEMENT EXECUTE FUNCTION announce_tokens()
    """,
)


def upgrade() -> None:
    """Add the columns, and announce only changes that decide who is admitted."""
    for statement in STATEMENTS:
        op.execute(statement)
