"""Notifications of attachments that need no more polling, while API processes wait for some."""

from alembic import op

revision = "0015"
down_revision = "0014"

STATEMENTS = (
    # A transaction that notifies holds a lock of the whole server during its commit, so commits
    # would queue. Therefore changes are notified only while an API process has waiting clients.
    # Unlogged: after a crash of the server nobody waits.
    """
    CREATE UNLOGGED TABLE waiting (
        process uuid PRIMARY KEY,
        ends_at timestamptz NOT NULL
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE FUNCTION announce_settled() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM waiting AS w WHERE w.ends_at > now()) THEN
            PERFORM pg_notify('attachments_settled', NEW.id::text);
        END IF;
        RETURN NULL;
    END
    $$
    """,
    # The condition is cheap. For claims, renewals and most other updates the function is not
    # called.
    """
    CREATE TRIGGER attachments_settled AFTER UPDATE ON attachments FOR EACH ROW
    WHEN ((OLD.state <> NEW.state AND NEW.state IN ('ready', 'rejected', 'failed', 'expired'))
          OR (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL))
    EXECUTE FUNCTION announce_settled()
    """,
    "COMMENT ON COLUMN waiting.process IS 'An API process, by a random id.'",
    "COMMENT ON COLUMN waiting.ends_at IS 'Until when its clients may wait; then it renews it.'",
)


def upgrade() -> None:
    """Add the table and the trigger; the statements of the previous release still work."""
    for statement in STATEMENTS:
        op.execute(statement)
