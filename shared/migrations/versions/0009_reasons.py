"""Faulty files are no longer `rejected` but `ready`, and have fewer codes of reasons."""

from alembic import op

revision = "0009"
down_revision = "0008"

OLD = (
    "('broken', 'truncated', 'too_many_pixels', 'too_many_scans', 'decoder_timeout',"
    " 'decoder_memory')"
)
RENAMED = "CASE WHEN {}.reason IN ('broken', 'truncated') THEN 'damaged' ELSE 'too_expensive' END"
KEPT = "CASE {0}.state WHEN 'rejected' THEN 'ready' ELSE {0}.state END"

STATEMENTS = (
    # This locks only the changed rows, so other processes can write meanwhile.
    f"""
    UPDATE attachments AS a SET state = {KEPT.format("a")}, reason = {RENAMED.format("a")}
    WHERE a.reason IN {OLD}
    """,
    # The facts of these files were never measured. So the files are processed once more.
    """
    UPDATE attachments AS a
    SET state = 'uploaded', revision = a.revision + 1, reason = NULL, due_at = now()
    WHERE a.state = 'failed' AND a.reason = 'decoder_died' AND a.deleted_at IS NULL
    """,
    f"""
    CREATE FUNCTION rename_reason() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.state := {KEPT.format("NEW")};
        NEW.reason := {RENAMED.format("NEW")};
        RETURN NEW;
    END
    $$
    """,
    # Workers of the previous release still write the old codes.
    f"""
    CREATE TRIGGER attachments_reason BEFORE UPDATE OF reason ON attachments FOR EACH ROW
    WHEN (NEW.reason IN {OLD}) EXECUTE FUNCTION rename_reason()
    """,
)


def upgrade() -> None:
    """Rename the codes in the rows, and those that the previous release still writes."""
    for statement in STATEMENTS:
        op.execute(statement)
