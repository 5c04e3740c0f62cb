"""Counters of dead letters by origin, so that a new dead letter needs no count of all rows."""

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS = (
    # The row with the empty origin has the totals. A transaction that stores or removes dead
    # letters locks this row first.
    """
    CREATE TABLE dead_letter_origins (
        origin  text PRIMARY KEY,
        letters bigint NOT NULL,
        bytes   bigint NOT NULL
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE INDEX dead_letter_origins_by_letters ON dead_letter_origins (letters)
    WHERE origin <> ''
    """,
    """
    CREATE FUNCTION count_letters() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        sign integer := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
    BEGIN
        UPDATE dead_letter_origins AS o
        SET letters = o.letters + sign * c.letters, bytes = o.bytes + sign * c.bytes
        FROM (SELECT count(*) AS letters, coalesce(sum(size), 0) AS bytes FROM changed) AS c
        WHERE o.origin = '';
        INSERT INTO dead_letter_origins AS o (origin, letters, bytes)
        SELECT origin, sign * count(*), sign * sum(size) FROM changed
        GROUP BY origin ORDER BY origin
        ON CONFLICT (origin) DO UPDATE
        SET letters = o.letters + excluded.letters, bytes = o.bytes + excluded.bytes;
        IF sign < 0 THEN
            DELETE FROM dead_letter_origins AS o
            USING (SELECT DISTINCT origin FROM changed) AS c
            WHERE o.origin = c.origin AND o.letters <= 0 AND o.origin <> '';
        END IF;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION forget_letters() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM dead_letter_origins WHERE origin <> '';
        UPDATE dead_letter_origins SET letters = 0, bytes = 0;
        RETURN NULL;
    END
    $$
    """,
    # CREATE TRIGGER locks the table, so the previous release cannot store dead letters before the
    # INSERT below has summed them.
    """
    CREATE TRIGGER letters_kept AFTER INSERT ON dead_letters
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_letters()
    """,
    """
    CREATE TRIGGER letters_removed AFTER DELETE ON dead_letters
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_letters()
    """,
    """
    CREATE TRIGGER letters_truncated AFTER TRUNCATE ON dead_letters
    FOR EACH STATEMENT EXECUTE FUNCTION forget_letters()
    """,
    """
    INSERT INTO dead_letter_origins (origin, letters, bytes)
    SELECT coalesce(origin, ''), count(*), coalesce(sum(size), 0) FROM dead_letters
    GROUP BY GROUPING SETS ((origin), ())
    """,
)


def upgrade() -> None:
    """Add the counters, fill them, and create the triggers that update them."""
    for statement in STATEMENTS:
        op.execute(statement)
