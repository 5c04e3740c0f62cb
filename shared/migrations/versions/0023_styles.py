"""Thumbnails in several styles. Webhooks do not report that only a style was added."""

from alembic import op

revision = "0023"
down_revision = "0022"

# As in migration 0013.
UPLOADED = """((NEW.state = 'uploaded' AND OLD.state NOT IN ('uploaded', 'processing'))
    OR (NEW.state IN ('uploaded', 'processing')
        AND OLD.uploaded_at IS DISTINCT FROM NEW.uploaded_at AND NEW.uploaded_at IS NOT NULL))"""
DELETED = "(OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)"

# True while a ready attachment is processed again only for a style, until it is ready again. Any
# other change of the object raises the revision, or changes `uploaded_at`.
RESTYLED = f"""(NOT {DELETED} AND NEW.revision = NEW.restyled_revision
    AND NEW.state IN ('uploaded', 'ready')
    AND OLD.uploaded_at IS NOT DISTINCT FROM NEW.uploaded_at)"""

STATEMENTS = (
    # Workers of the previous release set neither column. A style that they do not know is not shown
    # after a newer upload, because its etag is not that of the row.
    "ALTER TABLE attachments ADD COLUMN styles jsonb, ADD COLUMN restyled_revision bigint",
    "COMMENT ON COLUMN attachments.styles IS 'The thumbnails by style: name in the key, configured"
    " edge, width and height in pixels, etag of the original. Names are set before the thumbnails"
    " are stored, the other members after. A style without a name has no thumbnail.'",
    "COMMENT ON COLUMN attachments.restyled_revision IS 'The revision at which the attachment"
    " was last processed again only to make a style. Webhooks do not report that.'",
    # The function of migration 0013, with the first condition added.
    f"""
    CREATE OR REPLACE FUNCTION queue_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        news text;
        message uuid;
    BEGIN
        IF {RESTYLED} THEN
            RETURN NULL;
        END IF;
        -- in an organization without webhooks, a change costs only this query
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
)


def upgrade() -> None:
    """Add the columns and replace the function; the statements of the previous release still
    work."""
    for statement in STATEMENTS:
        op.execute(statement)
