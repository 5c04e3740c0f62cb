"""A database with a million attachments, and the ids of rows that tests use."""

ROWS = 1_000_000
TOKENS = 20_000
LETTERS = 100_000

BIG, USUAL = 1, 50
"""Ids of organizations: BIG owns a fifth of all rows; USUAL is one of a hundred organizations of
equal size.
"""

BUCKET = "bucket"

UPLOADED, PROCESSING, READY, FAILED, DELETED = range(1, 6)
"""Ids of rows of the organization USUAL, each in the state of its name.

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
