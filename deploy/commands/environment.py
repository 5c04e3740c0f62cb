"""The settings and the database for operators' commands, and the credentials for clients' commands.

They come from environment variables or, if those are not set, from a local stack. They are never
options, because every user of the machine can read options in the list of processes.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

from deploy.private_files import read_private
from shared.errors import AttachmentsError, SettingsError
from shared.log_lines import Level, wants_json
from shared.log_lines import line as log_line
from shared.plain import escape

if TYPE_CHECKING:
    from shared.database import Database
    from shared.part_settings import DatabaseSettings, LogSettings
    from shared.settings import Settings

T = TypeVar("T")
P = TypeVar("P", bound="LogSettings")
D = TypeVar("D", bound="DatabaseSettings")

STORE_VARIABLES = ("ATTACHMENTS_S3_BUCKET", "ATTACHMENTS_S3_ENDPOINT_URL")
CLIENT_VARIABLES = ("ATTACHMENTS_API_URL", "ATTACHMENTS_TOKEN", "ATTACHMENTS_ORGANIZATION_ID")


class Unusable(AttachmentsError):
    """The command cannot be carried out. The message is the one line that the user sees."""


class Misused(Unusable):
    """The command line itself is wrong."""


def note(*lines: str, level: Level = "info") -> None:
    """Print a message to standard error. It is not a part of the command's result.

    Line breaks inside a line become spaces. All lines after the first are indented. If the log's
    format is JSON, the message is one object: the first line is its event, and the other lines are
    a list in it.
    """
    if wants_json():
        first, *rest = (" ".join(line.split()) for line in lines)
        more = {"faults" if level == "error" else "more": rest} if rest else {}
        print(log_line(first, level=level, logger="attachments", **more), file=sys.stderr)
        return
    for number, line in enumerate(lines):
        print("  " * (number > 0) + escape(" ".join(line.split())), file=sys.stderr)


def print_line(line: object) -> None:
    """Print one line of the result to standard output."""
    print(escape(str(line)))


@overload
def read_settings(data_dir: Path) -> "Settings": ...


@overload
def read_settings(data_dir: Path, part: type[P]) -> P: ...


def read_settings(data_dir: Path, part: "type[LogSettings] | None" = None) -> "LogSettings":
    """Read the settings from the environment, or those of the local stack in `data_dir`.

    The local stack is used only if the environment has no address of a database. An environment
    variable replaces the stack's setting. If `part` is given, only the settings of that class are
    read, and all other settings may be missing or wrong. Raises SettingsError.
    """
    from shared.settings import Settings, load_part

    part = part or Settings
    if any(name.upper() == "ATTACHMENTS_DATABASE_URL" for name in os.environ):
        return load_part(part)
    from deploy.local.data_dir import ENVIRONMENT, local_environment

    found = local_environment(data_dir)
    if found is not None and not any(name in os.environ for name in STORE_VARIABLES):
        # These variables of the shell are for another store, and not for the stack's store.
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
    for name, value in (found or {}).items():
        # The stack's AWS keys replace those of the shell, which are for another store.
        if name.startswith("AWS_") or name not in os.environ:
            os.environ[name] = value
    try:
        return load_part(part)
    except SettingsError as error:
        if found is None:
            hint = f"and there is no local stack in {data_dir}: `attachments up` starts one"
            if os.path.exists(data_dir / ENVIRONMENT):
                hint = f"the local stack in {data_dir} belongs to another user, or cannot be read"
            raise SettingsError(f"{error}\n{hint}") from None
        raise


def with_database(
    data_dir: Path, part: type[D], work: "Callable[[Database, D], Awaitable[T]]"
) -> T:
    """Open the database, run `work` and return its result.

    `part` is the class of the settings that `work` needs; others may be missing. Raises
    SettingsError, and Unusable if the database cannot be reached or denies the statement.
    """
    import asyncio

    import asyncpg

    from shared.database import AWAY, DatabaseAway, open_database
    from shared.log import configure_logging

    settings = read_settings(data_dir, part)
    configure_logging("error", settings.log_format)

    async def run() -> T:
        async with open_database(settings) as database:
            return await work(database, settings)

    try:
        return asyncio.run(run())
    except DatabaseAway as error:
        raise Unusable(f"ATTACHMENTS_DATABASE_URL: {error}") from error
    except (asyncpg.PostgresError, *AWAY, ValueError) as error:
        raise Unusable(
            f"ATTACHMENTS_DATABASE_URL: cannot be used ({type(error).__name__})"
        ) from error


def read_client(data_dir: Path) -> tuple[str, str, str]:
    """Return the API's address, the token and the organization's id for a client's command.

    They come from the environment or, if none of them is set, from the ready file of the local
    stack. Raises SettingsError if only some are set, Unusable if that file cannot be read.
    """
    import json

    given = {name: os.environ.get(name, "") for name in CLIENT_VARIABLES}
    if not any(given.values()):
        path = data_dir / "ready.json"
        try:
            ready = json.loads(read_private(path))
            return ready["api_url"], ready["token"], str(ready["organization_id"])
        except FileNotFoundError:
            raise Unusable(
                f"set {', '.join(CLIENT_VARIABLES)}, or start a local stack with `attachments up`"
                f" ({path} does not exist)"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Unusable(f"{path} cannot be read ({type(error).__name__})") from error
    missing = [f"{name}: is not set" for name, value in given.items() if not value]
    if missing:
        raise SettingsError("\n".join(missing))
    api_url, token, organization_id = given.values()
    return api_url, token, organization_id
