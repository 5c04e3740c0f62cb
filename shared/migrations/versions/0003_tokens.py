"""Tokens get an expiry, a scope, and the time when they were last used."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    # With the defaults, the previous release can still insert rows, and old tokens do not change.
    """
    ALTER TABLE tokens
        ADD COLUMN expires_at   timestamptz CHECK (isfinite(expires_at)),
        ADD COLUMN last_used_at timestamptz,
        ADD COLUMN scope        text NOT NULL DEFAULT 'admin'
            CHECK (scope IN ('read', 'write', 'admin'))
    """,
    # The listed columns decide which caller is admitted, and with which rights. last_used_at is not
    # one of them, because its writes must not make every API process look up all its tokens again.
    # INSERT is left out, because unknown tokens are never cached.
    """
    CREATE OR REPLACE TRIGGER tokens_changed
    AFTER DELETE OR UPDATE OF
        id, organization_id, person_id, digest, revoked_at, expires_at, scope
    OR TRUNCATE ON tokens
    FOR EACH STATEMENT EXECUTE FUNCTION announce_tokens()
    """,
)


def upgrade() -> None:
    """Add the columns, and notify only of changes that decide who is admitted."""
    for statement in STATEMENTS:
        op.execute(statement)
