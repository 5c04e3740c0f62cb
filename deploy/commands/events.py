"""Commands for operators about dead letters: messages of stores that could not be used."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.commands.environment import Misused, Unusable, note, print_line, with_database
from deploy.commands.options import LOCAL, DataDir, Json
from shared.keys import MAX_ID

if TYPE_CHECKING:
    from shared.database import Database
    from shared.intake import Replayed

AT_A_TIME = 200

LetterId = Annotated[int, typer.Argument(metavar="ID", min=1, max=MAX_ID)]

events_app = typer.Typer(help="List, show and replay events that could not be used.")


@events_app.command("list")
def list_letters(
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="Number of rows, newest first.")
    ] = 50,
    as_json: Json = False,
    data_dir: DataDir = LOCAL,
) -> None:
    """List the dead letters, the newest first, without their bodies."""
    from dataclasses import asdict

    from deploy.commands import output
    from shared import dead_letters
    from shared.part_settings import DatabaseSettings

    letters = with_database(
        data_dir,
        DatabaseSettings,
        lambda database, _: database.run(dead_letters.list_newest, limit=limit),
    )
    if as_json:
        output.print_json([asdict(letter) for letter in letters])
        return
    output.print_table(
        ("id", "last", "count", "came by", "origin", "dialect", "bytes", "reason"),
        (
            (
                row.id,
                row.last_at,
                row.count,
                row.source,
                row.origin,
                row.dialect,
                row.size,
                row.reason,
            )
            for row in letters
        ),
    )


@events_app.command("show")
def show_letter(
    letter_id: LetterId,
    raw: Annotated[bool, typer.Option("--raw", help="Only the body, byte for byte.")] = False,
    as_json: Json = False,
    data_dir: DataDir = LOCAL,
) -> None:
    """Show a dead letter: its details and its body."""
    from base64 import b64encode
    from dataclasses import asdict

    from deploy.commands import output
    from shared import dead_letters
    from shared.part_settings import DatabaseSettings

    if raw and as_json:
        raise Misused("give either --raw or --json")
    if raw and sys.stdout.isatty():  # a terminal would execute control sequences in the body
        raise Misused("--raw writes into a file or a pipe, not to a terminal")
    found = with_database(
        data_dir, DatabaseSettings, lambda database, _: database.run(dead_letters.find, letter_id)
    )
    if found is None:
        raise Unusable(f"there is no dead letter {letter_id}")
    letter, body = found
    if raw:
        sys.stdout.buffer.write(body)
    elif as_json:
        output.print_json({**asdict(letter), "body_base64": b64encode(body).decode()})
    else:
        output.print_table(("dead letter", ""), asdict(letter).items())
        for line in body.decode(errors="replace").split("\n"):
            print_line(line)


@events_app.command("replay")
def replay_letters(
    ids: Annotated[list[int] | None, typer.Argument(metavar="[ID]...", min=1, max=MAX_ID)] = None,
    every: Annotated[bool, typer.Option("--all", help="Replay every kept message.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done.")
    ] = False,
    data_dir: DataDir = LOCAL,
) -> None:
    """Parse dead letters again and record their events. A letter without faults is removed."""
    if bool(ids) == every:
        raise Misused("give either IDs or --all")
    from shared import dead_letters, intake
    from shared.deployment import find_prefix
    from shared.part_settings import ReplaySettings
    from shared.publisher import Publisher

    async def work(database: "Database", settings: ReplaySettings) -> bool:
        prefix = await find_prefix(database, settings)
        publisher = Publisher(settings.broker_url.get_secret_value(), prefix)
        all_well = True

        async def send(number: int) -> bool:
            replayed = await database.run(
                intake.replay,
                number,
                bucket=settings.s3_bucket,
                publish_grace_s=settings.publish_grace,
                dry_run=dry_run,
            )
            if replayed is None:
                note(f"{number}: no dead letter has this id")
                return False
            if not dry_run:
                for wake_up in replayed.woken:
                    publisher.publish(wake_up)
            print_line(_outcome(number, replayed, dry_run=dry_run))
            return not replayed.reading.faults

        try:
            for number in dict.fromkeys(ids or ()):
                all_well &= await send(number)
            before, found = None, False
            while every and (
                batch := await database.run(
                    dead_letters.list_newest, limit=AT_A_TIME, before=before
                )
            ):
                for letter in batch:
                    all_well &= await send(letter.id)
                before, found = batch[-1].id, True
            if every and not found:
                note("there are no dead letters; nothing was replayed")
        finally:
            publisher.close()
        if publisher.dropped:
            note(publisher.left_to_sweep)
        return all_well

    raise typer.Exit(0 if with_database(data_dir, ReplaySettings, work) else 1)


def _outcome(number: int, replayed: "Replayed", *, dry_run: bool) -> str:
    reading = replayed.reading
    woken = len(replayed.woken)
    line = (
        f"{number}: {woken} {'would be' if dry_run else 'will be'} processed,"
        f" {len(reading.events) - woken} need no worker, {reading.ignored} ignored"
    )
    if reading.faults:
        line += f"; it is kept, because it still cannot be used: {reading.faults[0]}"
    return line
