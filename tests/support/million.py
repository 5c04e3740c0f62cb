"""A database with a million attachments, and the ids of rows that tests use."""

ROWS = 1_000_000
TOKENS = 20_000
LETTERS = 100_000
KEYS = 100_000
DELIVERIES = 100_000

BIG, USUAL = 1, 50
"""Ids of organizations: BIG owns a fifth of all rows; USUAL is one of a hundred organizations of
equal size.
"""

BUCKET = "bucket"

WEBHOOKS = 200
USUAL_WEBHOOK = 50
"""WEBHOOKS is the number of webhooks; an organization has at most one webhook.

USUAL_WEBHOOK is the id of the webhook of the organization USUAL.
"""

UPLOADED, PROCESSING, READY, FAILED, DELETED = range(1, 6)
"""Ids of rows of the organization USUAL. The name of each constant is the state of its row.

The first three rows are due.
"""

FILL = f"""
INSERT INTO attachments (
    id, organization_id, bucket, name, file_name, attachable_type, attachable_id, state, reason,
    revision, claimed_revision, attempt, due_at, etag, policy_expires_at, uploaded_at, deleted_at,
    created_at, creator_id, external_id, message_id
)
SELECT n, CASE WHEN n < 100 THEN {USUAL} WHEN n % 5 = 0 THEN {BIG} ELSE 2 + n % 100 END,
       '{BUCKET}', 'img.png', 'img.png',
       CASE WHEN n % 3 > 0 THEN 'comment' END, CASE WHEN n % 3 > 0 THEN n / 20 END,
       CASE WHEN n = {UPLOADED} THEN 'uploaded' WHEN n = {PROCESSING} THEN 'processing'
            WHEN n = {FAILED} OR n % 1000 = 7 THEN 'failed' ELSE 'ready' END,
       CASE WHEN n = {FAILED} OR n % 1000 = 7 THEN 'missing' END,
       1, CASE WHEN n = {UPLOADED} THEN 0 ELSE 1 END, 1,
       CASE WHEN n <= {READY} THEN now() - interval '1 minute'
            WHEN n % 500 = 0 THEN now() + interval '1 hour' END,
       'a', now() + interval '1 hour', now(),
       CASE WHEN n = {DELETED} OR n % 50 = 0 THEN now() END,
       now() - ({ROWS} - n) * interval '1 second', CASE WHEN n % 4 > 0 THEN n % 7 END,
       CASE WHEN n % 5 = 0 THEN 'x' || n / 1000 END, CASE WHEN n % 10 = 0 THEN 'm' || n / 1000 END
FROM generate_series(1, {ROWS}) AS n
"""

FURTHER = (
    # A tenth of the Idempotency-Keys are older than 24 hours, so they are no longer valid.
    f"""
    INSERT INTO idempotency_keys (organization_id, digest, fingerprint, made, created_at)
    SELECT {USUAL}, sha256(n::text::bytea), 'f', ARRAY[n],
           now() - CASE WHEN n >= 90000 THEN interval '25 hours' ELSE interval '1 hour' END
    FROM generate_series(1, {KEYS}) AS n
    """,
    f"""
    INSERT INTO webhooks (organization_id, target_url, events, secret, key_id)
    SELECT n, 'https://receiver.example/', '{{attachment.ready}}', '', 'a'
    FROM generate_series(1, {WEBHOOKS}) AS n
    """,
    # A twentieth of the deliveries are pending, and half of these are due. Another twentieth have
    # failed. The oldest deliveries are older than KEPT_DAYS. A few deliveries belong to no webhook.
    f"""
    INSERT INTO webhook_deliveries
        (webhook_id, organization_id, message_id, event, attachment, state, due_at, created_at)
    SELECT n % ({WEBHOOKS} + 5), n % ({WEBHOOKS} + 5), gen_random_uuid(), 'webhook.test',
           jsonb_build_object('as long as a row', repeat('a', 700)),
           CASE n / 1000 % 20 WHEN 1 THEN 'pending' WHEN 2 THEN 'failed' ELSE 'delivered' END,
           CASE WHEN n / 1000 % 20 = 1
                THEN now() + (n % 2 * 2 - 1) * interval '1 hour' END,
           now() - ({DELIVERIES} - n) * interval '30 seconds'
    FROM generate_series(1, {DELIVERIES}) AS n
    """,
)
"""Statements that fill tables other than `attachments`."""
