"""The schema's version: bring a database up to it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from asyncpg import InterfaceError, InternalClientError, PostgresError
from sqlalchemy.exc import SQLAlchemyError

from shared.errors import AttachmentsError
from shared.refusals import ENCODING, explain


class NotUtf8(AttachmentsError):
    """The database has no schema yet, and an encoding that cannot hold every text."""

    def __init__(self, encoding: str) -> None:
        super().__init__(f"the database has the encoding {encoding}, not UTF8: {ENCODING}")


class NotMigrated(AttachmentsError):
    """The schema could not be brought up to this version; the message tells why, and the remedy."""


FORBIDDEN = (
    "the role may not create or change tables (42501): GRANT CREATE ON SCHEMA public TO the role,"
    " or make it the owner of the database and of its tables"
)
NEWER = (
    "the schema is of a newer version than this one, or of another program: run the newer"
    " version's `attachments migrate`"
)


def migrate(database_url: str, revision: str = "head") -> None:
    """Run every migration up to a revision that has not run.

    Safe to repeat and to run side by side. Must not be called from a running event loop. Raises
    NotMigrated.
    """
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))  # configparser's mark
    config.set_main_option("path_separator", "os")
    config.attributes["database_url"] = database_url
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise NotMigrated(NEWER) from error
    except NotUtf8 as error:
        raise NotMigrated(str(error)) from error
    except (
        SQLAlchemyError,
        PostgresError,
        InterfaceError,
        InternalClientError,
        OSError,
    ) as error:
        refusal = explain(error)
        raise NotMigrated(FORBIDDEN if refusal.code == "42501" else str(refusal)) from error
