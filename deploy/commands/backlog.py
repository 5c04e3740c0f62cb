"""The command `backlog`: how many uploads wait for a worker, and for how long."""

from typing import TYPE_CHECKING

from deploy.commands.environment import print_line, with_database
from deploy.commands.options import LOCAL, DataDir, Json

if TYPE_CHECKING:
    from shared.backlog import Backlog
    from shared.database import Database
    from shared.part_settings import DatabaseSettings


def backlog(as_json: Json = False, data_dir: DataDir = LOCAL) -> None:
    """Show how many uploads wait for a worker, and for how long.

    Use these numbers to decide how many workers to run.
    """
    from deploy.commands.output import print_json
    from shared.backlog import measure
    from shared.part_settings import DatabaseSettings

    async def work(database: "Database", _: "DatabaseSettings") -> "Backlog":
        return await database.run(measure)

    found = with_database(data_dir, DatabaseSettings, work)
    if as_json:
        print_json({"oldest_seconds": round(found.oldest_seconds, 3), "waiting": found.waiting})
    elif found.waiting:
        print_line(f"{found.waiting} uploads wait, the oldest for {found.oldest_seconds:.1f} s")
    else:
        print_line("no upload waits")
