"""Commands for operators about organizations.

Commands about quotas are in `deploy.commands.usage`.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from deploy.commands.environment import Unusable, note, print_line, with_database
from deploy.commands.options import LOCAL, DataDir, Json, check_name
from shared.keys import MAX_ID

if TYPE_CHECKING:
    from shared.database import Database
    from shared.organizations import Organization
    from shared.states import State

COUNTED = 10_000
"""For each organization and state, the list counts at most this number of attachments."""

organizations_app = typer.Typer(help="Create and list organizations, and set their quotas.")


@organizations_app.command("create")
def create_organization(
    name: str,
    force: Annotated[
        bool, typer.Option("--force", help="Create it even if the name is taken.")
    ] = False,
    data_dir: DataDir = LOCAL,
) -> None:
    """Create an organization and print its id."""
    from shared import organizations
    from shared.part_settings import DatabaseSettings

    name = check_name("NAME", name)

    async def work(database: "Database", _: DatabaseSettings) -> int:
        try:
            return await database.run(organizations.create_named, name, force=force)
        except organizations.NameTaken as taken:
            raise Unusable(
                f"there is an organization of that name, {taken.organization_id}:"
                " --force creates another one"
            ) from None

    print_line(with_database(data_dir, DatabaseSettings, work))


@organizations_app.command("list")
def list_organizations(
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="Number of rows, oldest first.")
    ] = 50,
    after: Annotated[
        int, typer.Option(metavar="ID", min=0, max=MAX_ID, help="Only those with higher ids.")
    ] = 0,
    as_json: Json = False,
    data_dir: DataDir = LOCAL,
) -> None:
    """List organizations with their numbers of attachments by state, counted up to 10,000."""
    from deploy.commands import output
    from shared import organizations
    from shared.overview import count_states
    from shared.part_settings import DatabaseSettings
    from shared.states import STATES

    async def work(
        database: "Database", _: DatabaseSettings
    ) -> "tuple[list[tuple[Organization, dict[State, int]]], bool]":
        found = await database.run(organizations.list_organizations, after=after, limit=limit + 1)
        listed = [
            (each, await database.run(count_states, each.id, most=COUNTED))
            for each in found[:limit]
        ]
        return listed, len(found) > limit

    listed, more = with_database(data_dir, DatabaseSettings, work)
    if as_json:
        output.print_json(
            [
                {
                    "id": each.id,
                    "name": each.name,
                    "created_at": each.created_at,
                    "states": {state: min(number, COUNTED) for state, number in counts.items()},
                    "more_than_counted": [
                        state for state, number in counts.items() if number > COUNTED
                    ],
                }
                for each, counts in listed
            ]
        )
    else:
        output.print_table(
            ("id", "name", "created", *STATES),
            (
                (each.id, each.name, each.created_at, *(_shown(counts[state]) for state in STATES))
                for each, counts in listed
            ),
        )
    if more:
        note(f"there are more: --after {listed[-1][0].id} lists those with higher ids")


def _shown(number: int) -> str:
    return f"{COUNTED}+" if number > COUNTED else str(number)
