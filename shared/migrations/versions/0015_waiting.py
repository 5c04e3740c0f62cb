"""Notify API processes of settled attachments, but only while clients wait for some.

A settled attachment is in a state that no longer changes by itself.
"""

from alembic import op

revision = "0015"
down_revision = "0014"

STATEMENTS = (
    # A transaction that notifies takes a lock of the whole server during its commit, so commits
    # would wait for each other. So the trigger notifies only while an API process has waiting
    # clients. The table is unlogged, because after a crash of the server no client waits.
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
    # The condition is cheap. The function is not called for claims, renewals and most other
    # updates.
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
    """Add the table and the trigger. The statements of the previous release still work."""
    for statement in STATEMENTS:
        op.execute(statement)
