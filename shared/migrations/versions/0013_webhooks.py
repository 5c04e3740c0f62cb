"""Webhooks of organizations, and the deliveries that are queued if an attachment changes."""

from alembic import op

revision = "0013"
down_revision = "0012"

# Each condition compares a row before (OLD) and after (NEW) an update. UPLOADED is true if an
# object was recorded, which changes `uploaded_at`. It is false if a worker releases its claim,
# although that sets `uploaded` too.
UPLOADED = """((NEW.state = 'uploaded' AND OLD.state NOT IN ('uploaded', 'processing'))
    OR (NEW.state IN ('uploaded', 'processing')
        AND OLD.uploaded_at IS DISTINCT FROM NEW.uploaded_at AND NEW.uploaded_at IS NOT NULL))"""
ENDED = """(OLD.state <> NEW.state
    AND NEW.state IN ('ready', 'rejected', 'failed', 'expired'))"""
DELETED = "(OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)"

STATEMENTS = (
    """
    CREATE TABLE webhooks (
        id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        organization_id     bigint NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
        target_url          text NOT NULL,
        events              text[] NOT NULL,
        description         text,
        active              boolean NOT NULL DEFAULT true,
        secret              bytea NOT NULL,
        secret_previous     bytea,
        previous_ends_at    timestamptz,
        key_id              text NOT NULL,
        created_at          timestamptz NOT NULL DEFAULT now(),
        failing_since       timestamptz,
        deactivated_at      timestamptz,
        deactivated_because text
            CHECK (deactivated_because IN ('gone', 'failing'))
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX webhooks_by_organization ON webhooks (organization_id, id)",
    # No foreign key to webhooks, because each insert would lock the webhook's row. A worker removes
    # the deliveries of removed webhooks.
    """
    CREATE TABLE webhook_deliveries (
        id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        webhook_id      bigint NOT NULL,
        organization_id bigint NOT NULL,
        message_id      uuid NOT NULL,
        event           text NOT NULL,
        attachment_id   bigint,
        attachment      jsonb,
        created_at      timestamptz NOT NULL DEFAULT now(),
        state           text NOT NULL DEFAULT 'pending'
            CHECK (state IN ('pending', 'delivered', 'failed')),
        attempt         smallint NOT NULL DEFAULT 0,
        due_at          timestamptz DEFAULT now(),
        attempted_at    timestamptz,
        status          smallint,
        fault           text
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due_at) WHERE due_at IS NOT NULL",
    """
    CREATE INDEX webhook_deliveries_due_by_webhook ON webhook_deliveries (webhook_id, due_at)
    WHERE due_at IS NOT NULL
    """,
    # This one index serves lists, retries and counts. More indexes would make each attempt more
    # expensive.
    "CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (webhook_id, state, id)",
    # The notice AW001 wakes a courier: `shared.connector.Session` reads it, and `shared.database`
    # wakes the courier after the commit.
    f"""
    CREATE FUNCTION queue_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        news text;
        message uuid;
    BEGIN
        -- all that a change costs in an organization without webhooks
        IF NOT EXISTS (SELECT FROM webhooks AS w
                       WHERE w.organization_id = NEW.organization_id AND w.active) THEN
            RETURN NULL;
        END IF;
        news := 'attachment.' || CASE WHEN {DELETED} THEN 'deleted'
                                      WHEN {UPLOADED} THEN 'uploaded'
                                      ELSE NEW.state END;
        message := gen_random_uuid();
        INSERT INTO webhook_deliveries
            (webhook_id, organization_id, message_id, event, attachment_id, attachment)
        SELECT w.id, NEW.organization_id, message, news, NEW.id, jsonb_strip_nulls(to_jsonb(NEW))
        FROM webhooks AS w
        WHERE w.organization_id = NEW.organization_id AND w.active AND news = ANY (w.events);
        IF FOUND THEN
            RAISE NOTICE 'deliveries are queued' USING ERRCODE = 'AW001';
        END IF;
        RETURN NULL;
    END
    $$
    """,
    # The condition is cheap. The function is not called for claims, renewals and most other
    # updates.
    f"""
    CREATE TRIGGER attachments_news AFTER UPDATE ON attachments FOR EACH ROW
    WHEN ({DELETED} OR (NEW.deleted_at IS NULL AND ({UPLOADED} OR {ENDED})))
    EXECUTE FUNCTION queue_deliveries()
    """,
)

COMMENTS = {
    "webhooks": {
        "id": "Its number.",
        "organization_id": "The organization whose attachments it reports.",
        "target_url": "The address to which deliveries are posted.",
        "events": "The types of events that are delivered to it.",
        "description": "A text of the client; the service gives it no meaning.",
        "active": "Whether deliveries are queued and sent.",
        "secret": "The secret that signs deliveries, encrypted by a key of the settings.",
        "secret_previous": "The secret before the last rotation, encrypted in the same way.",
        "previous_ends_at": "Until when deliveries are signed by secret_previous too.",
        "key_id": "Names the key that encrypted the secrets; not secret.",
        "created_at": "When it was created.",
        "failing_since": "The first failure since the last success; null after a success.",
        "deactivated_at": "When the service deactivated it; null if it did not.",
        "deactivated_because": (
            "gone: the receiver answered 410; failing: it failed for five days."
        ),
    },
    "webhook_deliveries": {
        "id": "Its number.",
        "webhook_id": "The webhook to which it is delivered.",
        "organization_id": "The organization of the webhook and of the attachment.",
        "message_id": "The id of the event; the same for all webhooks and all attempts.",
        "event": "The type of the event, such as attachment.ready.",
        "attachment_id": "The attachment; null for a test event.",
        "attachment": "The row of the attachment at the commit, without nulls.",
        "created_at": "When the event happened.",
        "state": "pending, delivered or failed.",
        "attempt": "The number of attempts that have begun.",
        "due_at": "When the next attempt is due, or the lease of the present one ends; else null.",
        "attempted_at": "When the last attempt ended.",
        "status": "The HTTP status of the last answer; null if there was none.",
        "fault": "Why the last attempt failed; null after a success.",
    },
}


def upgrade() -> None:
    """Create the tables and the trigger. The statements of the previous release still work."""
    for statement in STATEMENTS:
        op.execute(statement)
    for table, comments in COMMENTS.items():
        for column, comment in comments.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{comment}'")
