"""What a command works with: the service's settings and database, or a client's credentials.

Both come from environment variables, else from a local stack; never from options, which every
user of the machine can read in the list of processes.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

from deploy.private_files import read_private
from shared.errors import AttachmentsError, SettingsError
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
    """What was asked cannot be done; the message is the one line that the user sees."""


class Misused(Unusable):
    """The command line itself is wrong."""


def note(*lines: str) -> None:
    """Tell something beside the result, on standard error; every line stays one line."""
    for number, line in enumerate(lines):
        print("  " * (number > 0) + escape(" ".join(line.split())), file=sys.stderr)


def tell(line: object) -> None:
    """Print a line of the result to standard output."""
    print(escape(str(line)))


@overload
def read_settings(data_dir: Path) -> "Settings": ...


@overload
def read_settings(data_dir: Path, part: type[P]) -> P: ...


def read_settings(data_dir: Path, part: "type[LogSettings] | None" = None) -> "LogSettings":
    """Read the settings from the environment, else those of the local stack in `data_dir`.

    What is set explicitly holds against the local stack's. Of settings that are not of `part`
    nothing is needed and nothing is wrong; without it all are read. Raises SettingsError.
    """
    from shared.settings import Settings, load_part

    part = part or Settings
    if any(name.upper() == "ATTACHMENTS_DATABASE_URL" for name in os.environ):
        return load_part(part)
    from deploy.local.data_dir import ENVIRONMENT
    from deploy.local.up import local_environment

    found = local_environment(data_dir)
    if found is not None and not any(name in os.environ for name in STORE_VARIABLES):
        # Keys, profile and endpoint of this shell are for another store than the stack's.
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
    for name, value in (found or {}).items():
        # The stack's own keys to its own store, whatever keys this shell has for another.
        if name.startswith("AWS_") or name not in os.environ:
            os.environ[name] = value
    try:
        return load_part(part)
    except SettingsError as error:
        if found is None:
            hint = f"nor is there a local stack in {data_dir}: `attachments up` starts one"
            if os.path.exists(data_dir / ENVIRONMENT):
                hint = f"the local stack in {data_dir} belongs to another user, or cannot be read"
            raise SettingsError(f"{error}\n{hint}") from None
        raise


def with_database(
    data_dir: Path, part: type[D], work: "Callable[[Database, D], Awaitable[T]]"
) -> T:
    """Open the database, do the work, and put what PostgreSQL refuses into one line.

    `part` has the settings that the work uses; no others are needed.
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
    """Find API, token and organization in the environment, else in the local stack's ready file.

    Raises SettingsError, Unusable.
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
