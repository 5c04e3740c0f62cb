"""The table of Idempotency-Keys, with which clients can safely repeat a POST."""

from alembic import op

revision = "0016"
down_revision = "0015"

STATEMENTS = (
    """
    CREATE TABLE idempotency_keys (
        organization_id bigint NOT NULL,
        digest          bytea NOT NULL,
        fingerprint     bytea NOT NULL,
        made            bigint[] NOT NULL,
        created_at      timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (organization_id, digest)
    )
    """,
    "CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at)",
)

COMMENTS = {
    "organization_id": "The organization whose client sent the key.",
    "digest": "SHA-256 of the key.",
    "fingerprint": "SHA-256 of the method, the path and the decoded body of the request.",
    "made": "The ids that the answer is about, in its order.",
    "created_at": "When the request succeeded; the key counts for 24 hours.",
}


def upgrade() -> None:
    """Add the table."""
    for statement in STATEMENTS:
        op.execute(statement)
    for column, comment in COMMENTS.items():
        op.execute(f"COMMENT ON COLUMN idempotency_keys.{column} IS '{comment}'")
