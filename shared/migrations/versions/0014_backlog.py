"""How many uploads wait for a worker, and how long: a view, and a sample that processes share."""

from alembic import op

revision = "0014"
down_revision = "0013"

# The time from which an upload waits. A new upload waits since it was recorded. An upload that is
# processed again, by a command or after a failed attempt, waits since it became due. An upload
# whose lease has ended waits too.
SINCE = """CASE WHEN state = 'uploaded' AND claimed_revision < revision
                     AND coalesce(processed_at < uploaded_at, true)
                THEN coalesce(uploaded_at, due_at) ELSE due_at END"""
UNDER_WAY = "state IN ('uploaded', 'processing') AND deleted_at IS NULL"

MOST = 100_000
"""The number up to which waiting uploads are counted, so that a count takes a tenth of a second."""

STATEMENTS = (
    # Writes wait while this index is built, as in migration 0010. It contains only uploads that are
    # not finished.
    f"CREATE INDEX attachments_waiting ON attachments (({SINCE})) WHERE {UNDER_WAY}",
    f"""
    CREATE VIEW attachments_backlog AS
    SELECT coalesce(greatest(extract(epoch FROM now() - (
               SELECT {SINCE} FROM attachments
               WHERE {UNDER_WAY} AND {SINCE} <= now() ORDER BY {SINCE} LIMIT 1
           )), 0), 0)::float8 AS oldest_seconds,
           (SELECT count(*) FROM (
               SELECT FROM attachments WHERE {UNDER_WAY} AND {SINCE} <= now() LIMIT {MOST}
           ) AS counted) AS waiting
    """,
    "COMMENT ON VIEW attachments_backlog IS 'One row: how long uploads wait for a worker, and how"
    " many. Its name and columns stay; scale workers on it.'",
    "COMMENT ON COLUMN attachments_backlog.oldest_seconds IS 'Seconds since the oldest waiting"
    " upload could first have been claimed; 0 if none waits.'",
    f"COMMENT ON COLUMN attachments_backlog.waiting IS 'Uploads that a worker could claim now,"
    f" counted up to {MOST}.'",
    # The table has at most one row, like the table `deployment`. Processes share this sample, so
    # that only one of them counts at a time. The previous release does not use the table.
    """
    CREATE TABLE backlog_sample (
        one          boolean PRIMARY KEY DEFAULT true CHECK (one),
        measured_at  timestamptz NOT NULL DEFAULT '-infinity',
        waiting      bigint NOT NULL DEFAULT 0,
        waiting_from timestamptz,
        due          bigint NOT NULL DEFAULT 0,
        due_from     timestamptz,
        letters      bigint NOT NULL DEFAULT 0
    )
    """,
    "INSERT INTO backlog_sample DEFAULT VALUES",
    "COMMENT ON TABLE backlog_sample IS 'The figures that processes show as metrics, counted by one"
    " of them every few seconds.'",
    "COMMENT ON COLUMN backlog_sample.one IS 'Always true: the table has one row.'",
    "COMMENT ON COLUMN backlog_sample.measured_at IS 'When the figures were counted.'",
    "COMMENT ON COLUMN backlog_sample.waiting IS 'Uploads that a worker could claim then.'",
    "COMMENT ON COLUMN backlog_sample.waiting_from IS 'Since when the oldest of them waits.'",
    "COMMENT ON COLUMN backlog_sample.due IS 'Rows that the sweep had to look at.'",
    "COMMENT ON COLUMN backlog_sample.due_from IS 'Since when the oldest of them was due.'",
    "COMMENT ON COLUMN backlog_sample.letters IS 'Dead letters that are kept.'",
)


def upgrade() -> None:
    """Create the index, the view and the table."""
    for statement in STATEMENTS:
        op.execute(statement)
