"""Migrate a database to the schema of this release, and find the schema's revision."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from asyncpg import InterfaceError, InternalClientError, PostgresError
from sqlalchemy.exc import SQLAlchemyError

from shared.database import Connection
from shared.database_address import parse_address
from shared.errors import AttachmentsError
from shared.index_builds import build_indexes
from shared.refusals import ENCODING, explain


class NotUtf8(AttachmentsError):
    """The database has no tables yet, and its encoding cannot store every text."""

    def __init__(self, encoding: str) -> None:
        super().__init__(f"the database has the encoding {encoding}, not UTF8: {ENCODING}")


class NotMigrated(AttachmentsError):
    """The schema could not be migrated to this release. The message names cause and remedy."""


FORBIDDEN = (
    "the role may not create or change tables (42501): GRANT CREATE ON SCHEMA public TO the role,"
    " or make it the owner of the database and of its tables"
)
NEWER = (
    "the schema is of a newer version than this one, or of another program: run the newer"
    " version's `attachments migrate`"
)

# SQLSTATEs if another program's table, column, index, type or function has a name of ours
TAKEN_CODES = ("42P07", "42710", "42723", "42809", "42701", "42P16")
TAKEN = (
    "tables of another program have the names of ours ({code}): give the service a database of its"
    " own, or a schema (CREATE SCHEMA, then add schema=NAME to the address)"
)


async def find_version(connection: Connection) -> str | None:
    """Return the revision of the database's schema, or None before the first migration."""
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    version: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    return version


def migrate(database_url: str, revision: str = "head") -> None:
    """Run all migrations up to `revision` that have not run yet. For `head`, also build indexes.

    May be repeated, and several processes may call it at once. Do not call it in a running event
    loop. Raises NotMigrated.
    """
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    # configparser reads %% as one %.
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["database_url"] = database_url
    try:
        command.upgrade(config, revision)
        if revision == "head":
            asyncio.run(build_indexes(database_url))
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
        refusal = explain(error, parse_address(database_url).server)
        text = str(refusal)
        if refusal.code == "42501":
            text = FORBIDDEN
        elif refusal.code in TAKEN_CODES:
            text = TAKEN.format(code=refusal.code)
        raise NotMigrated(text) from error
