"""Quotas of organizations with counters of their usage, and limits of single attachments."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS: tuple[str, ...] = (
    # In rows of the previous release, the columns are null: the attachment has no limit of its own.
    """
    ALTER TABLE attachments
        ADD COLUMN limit_size     bigint,
        ADD COLUMN limit_types    text[],
        ADD COLUMN promised_bytes bigint
    """,
    # A quota is null if the setting applies, and -1 if the organization has no quota in spite of
    # the setting. usage_since is the time from which triggers count. usage_counted_at is when all
    # rows were counted last.
    """
    ALTER TABLE organizations
        ADD COLUMN quota_attachments     bigint CHECK (quota_attachments >= -1),
        ADD COLUMN quota_bytes           bigint CHECK (quota_bytes >= -1),
        ADD COLUMN quota_uploads_per_day bigint CHECK (quota_uploads_per_day >= -1),
        ADD COLUMN usage_since           timestamptz,
        ADD COLUMN usage_counted_at      timestamptz
    """,
    """
    CREATE INDEX organizations_uncounted ON organizations (id)
    WHERE usage_since IS NOT NULL AND usage_counted_at IS NULL
    """,
    # The cache of tokens in API processes also holds whether an organization has quotas of its own.
    """
    CREATE TRIGGER quotas_changed
    AFTER UPDATE OF quota_attachments, quota_bytes, quota_uploads_per_day ON organizations
    FOR EACH STATEMENT EXECUTE FUNCTION announce_tokens()
    """,
    # The usage of an organization is the sum of its rows here. Each session writes to a row (slot)
    # of its own, so sessions do not wait for each other's commits. A single slot may be negative.
    """
    CREATE TABLE usage (
        organization_id bigint NOT NULL,
        slot            smallint NOT NULL,
        attachments     bigint NOT NULL,
        bytes           bigint NOT NULL,
        uploads         bigint NOT NULL,
        day             date NOT NULL,
        PRIMARY KEY (organization_id, slot)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE FUNCTION add_usage(
        organization bigint, more_attachments bigint, more_bytes bigint, more_uploads bigint
    ) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO usage AS u (organization_id, slot, attachments, bytes, uploads, day)
        SELECT o.id, pg_backend_pid() % 64, more_attachments, more_bytes, more_uploads,
               (now() AT TIME ZONE 'UTC')::date
        FROM organizations AS o WHERE o.id = organization AND o.usage_since IS NOT NULL
        ON CONFLICT (organization_id, slot) DO UPDATE
        SET attachments = u.attachments + excluded.attachments,
            bytes = u.bytes + excluded.bytes,
            uploads = CASE WHEN u.day < excluded.day THEN excluded.uploads
                           ELSE u.uploads + excluded.uploads END,
            day = greatest(u.day, excluded.day);
    END
    $$
    """,
    # The bytes that an attachment counts: the measured or declared size, or else the largest size
    # that its policy allows. It counts none after it is purged, or if there is no object and none
    # can be uploaded.
    """
    CREATE FUNCTION attachment_bytes(a attachments) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
        SELECT CASE WHEN a.deleted_at IS NOT NULL AND a.due_at IS NULL THEN 0
                    WHEN a.state = 'expired' OR (a.state = 'failed' AND a.reason = 'missing') THEN 0
                    ELSE coalesce(a.size, a.promised_bytes, a.limit_size, 0) END
    $$
    """,
    """
    CREATE FUNCTION count_created() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        sums record;
    BEGIN
        -- the one look-up that a create costs where nothing is counted
        IF NOT EXISTS (SELECT FROM created AS n JOIN organizations AS o
                       ON o.id = n.organization_id AND o.usage_since IS NOT NULL) THEN
            RETURN NULL;
        END IF;
        FOR sums IN
            SELECT n.organization_id, count(*) FILTER (WHERE n.deleted_at IS NULL) AS attachments,
                   sum(attachment_bytes(n::attachments)) AS bytes, count(*) AS uploads
            FROM created AS n GROUP BY n.organization_id
        LOOP
            PERFORM add_usage(
                sums.organization_id, sums.attachments, sums.bytes::bigint, sums.uploads
            );
        END LOOP;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION count_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM add_usage(
            OLD.organization_id, -(OLD.deleted_at IS NULL)::integer, -attachment_bytes(OLD), 0
        );
        IF TG_OP = 'UPDATE' THEN
            PERFORM add_usage(
                NEW.organization_id, (NEW.deleted_at IS NULL)::integer, attachment_bytes(NEW), 0
            );
        END IF;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER attachments_created AFTER INSERT ON attachments
    REFERENCING NEW TABLE AS created FOR EACH STATEMENT EXECUTE FUNCTION count_created()
    """,
    # The condition is cheap. The function is not called for claims, renewals and most other
    # updates.
    """
    CREATE TRIGGER attachments_changed AFTER UPDATE ON attachments FOR EACH ROW
    WHEN (OLD.size IS DISTINCT FROM NEW.size
          OR OLD.deleted_at IS DISTINCT FROM NEW.deleted_at
          OR (OLD.state <> NEW.state AND (OLD.state IN ('expired', 'failed')
                                          OR NEW.state IN ('expired', 'failed')))
          OR OLD.reason IS DISTINCT FROM NEW.reason
          OR (OLD.deleted_at IS NOT NULL AND (OLD.due_at IS NULL) <> (NEW.due_at IS NULL))
          OR OLD.promised_bytes IS DISTINCT FROM NEW.promised_bytes
          OR OLD.limit_size IS DISTINCT FROM NEW.limit_size
          OR OLD.organization_id <> NEW.organization_id)
    EXECUTE FUNCTION count_changed()
    """,
    """
    CREATE TRIGGER attachments_removed AFTER DELETE ON attachments FOR EACH ROW
    EXECUTE FUNCTION count_changed()
    """,
    # Raises AQ001 if the organization is not counted yet, and AQ002 if a quota would be exceeded.
    # If an organization has a quota, the function locks its row until the caller's transaction
    # ends, so its create requests wait for each other. Each statement in the function sees all that
    # was committed before it, so also the usage that the previous create request has added.
    """
    CREATE FUNCTION hold_quota(
        organization bigint, more_attachments bigint, more_bytes bigint,
        usual_attachments bigint, usual_bytes bigint, usual_uploads bigint
    ) RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE
        o organizations;
        used record;
    BEGIN
        SELECT * INTO o FROM organizations WHERE id = organization;
        o.quota_attachments := nullif(coalesce(o.quota_attachments, usual_attachments), -1);
        o.quota_bytes := nullif(coalesce(o.quota_bytes, usual_bytes), -1);
        o.quota_uploads_per_day := nullif(coalesce(o.quota_uploads_per_day, usual_uploads), -1);
        IF o.quota_attachments IS NULL AND o.quota_bytes IS NULL
           AND o.quota_uploads_per_day IS NULL THEN
            RETURN organization;
        END IF;
        IF o.usage_since IS NULL THEN
            RAISE EXCEPTION 'usage is not counted' USING ERRCODE = 'AQ001';
        END IF;
        PERFORM FROM organizations WHERE id = organization FOR NO KEY UPDATE;
        SELECT coalesce(sum(u.attachments), 0) AS attachments, coalesce(sum(u.bytes), 0) AS bytes,
               coalesce(sum(u.uploads)
                        FILTER (WHERE u.day = (now() AT TIME ZONE 'UTC')::date), 0) AS uploads
        INTO used FROM usage AS u WHERE u.organization_id = organization;
        IF used.attachments + more_attachments > o.quota_attachments THEN
            RAISE EXCEPTION 'quota exceeded' USING ERRCODE = 'AQ002', DETAIL = json_build_object(
                'quota', 'attachments', 'limit', o.quota_attachments, 'used', used.attachments);
        ELSIF used.bytes + more_bytes > o.quota_bytes THEN
            RAISE EXCEPTION 'quota exceeded' USING ERRCODE = 'AQ002', DETAIL = json_build_object(
                'quota', 'bytes', 'limit', o.quota_bytes, 'used', used.bytes);
        ELSIF used.uploads + more_attachments > o.quota_uploads_per_day THEN
            RAISE EXCEPTION 'quota exceeded' USING ERRCODE = 'AQ002', DETAIL = json_build_object(
                'quota', 'uploads_per_day', 'limit', o.quota_uploads_per_day,
                'used', used.uploads);
        END IF;
        RETURN organization;
    END
    $$
    """,
)


def upgrade() -> None:
    """Add columns, tables and triggers. The statements of the previous release still work."""
    for statement in STATEMENTS:
        op.execute(statement)
