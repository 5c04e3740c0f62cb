"""Commands for operators about quotas: `usage` and `organizations limit`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.commands.environment import Misused, Unusable, print_line, with_database
from deploy.commands.options import LOCAL, DataDir, Json
from shared.keys import MAX_ID

if TYPE_CHECKING:
    from shared.database import Database
    from shared.quotas import Quotas, Usage

Quota = Annotated[
    str | None,
    typer.Option(metavar="N|none|default", help="N, none for no limit, default for the setting's."),
]


def usage(
    organization: Annotated[
        int | None, typer.Option(min=1, max=MAX_ID, help="Only this one; all by default.")
    ] = None,
    recount: Annotated[
        bool, typer.Option("--recount", help="Count everything again and correct the counters.")
    ] = False,
    as_json: Json = False,
    data_dir: DataDir = LOCAL,
) -> None:
    """Show the usage and quotas of organizations. Usage that has no count yet is counted first."""
    from deploy.commands import output
    from shared import quotas
    from shared.part_settings import UsageSettings

    async def work(database: "Database", settings: UsageSettings) -> list[dict[str, Any]]:
        usual = quotas.Quotas.of_settings(settings)
        if organization is not None:
            ids = [organization]
        else:
            ids = await database.run(quotas.organization_ids)
        return [await _one(database, each, usual, recount=recount) for each in ids]

    rows = with_database(data_dir, UsageSettings, work)
    if as_json:
        output.print_json(rows)
    else:
        output.print_table(
            ("organization", "attachments", "of", "bytes", "of", "uploads today", "of", "as of"),
            (
                (
                    row["organization"],
                    row["attachments"],
                    row["limits"]["attachments"],
                    row["bytes"],
                    row["limits"]["bytes"],
                    row["uploads_today"],
                    row["limits"]["uploads_per_day"],
                    row["as_of"],
                )
                for row in rows
            ),
        )


async def _one(
    database: "Database", organization_id: int, usual: "Quotas", *, recount: bool
) -> dict[str, Any]:
    from shared import counting, quotas

    found = await database.run(quotas.find_usage, organization_id, usual)
    drift = None
    if found is not None and (recount or not found[1]):
        drift = await database.run(counting.recount, organization_id)
        found = await database.run(quotas.find_usage, organization_id, usual)
    if found is None:
        raise Unusable(f"there is no organization {organization_id}")
    row = _row(found[0])
    return {**row, "mended": drift} if recount else row


def _row(found: "Usage") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "organization": found.organization_id,
        "attachments": found.attachments,
        "bytes": found.bytes,
        "uploads_today": found.uploads_today,
        "limits": asdict(found.quotas),
        "as_of": found.as_of,
    }


def limit(
    organization_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=MAX_ID)],
    size: Annotated[
        str | None,
        typer.Option("--bytes", metavar="N|none|default", help="Bytes that may be stored."),
    ] = None,
    attachments: Quota = None,
    uploads_per_day: Quota = None,
    data_dir: DataDir = LOCAL,
) -> None:
    """Set the quotas of an organization.

    Each is a number, `none` for no limit, or `default` for the number in the settings.
    """
    from shared import quotas
    from shared.part_settings import UsageSettings

    given = {
        "quota_bytes": ("--bytes", size),
        "quota_attachments": ("--attachments", attachments),
        "quota_uploads_per_day": ("--uploads-per-day", uploads_per_day),
    }
    wanted = {
        column: parse_quota(option, text)
        for column, (option, text) in given.items()
        if text is not None
    }
    if not wanted:
        raise Misused("give at least one of --bytes, --attachments and --uploads-per-day")

    async def work(database: "Database", settings: UsageSettings) -> "Usage":
        # A quota applies as soon as it is set, and needs the organization's usage. So count it
        # first.
        usual = quotas.Quotas.of_settings(settings)
        await _one(database, organization_id, usual, recount=False)
        await database.run(quotas.set_quotas, organization_id, wanted)
        found = await database.run(quotas.find_usage, organization_id, usual)
        assert found is not None
        return found[0]

    found = with_database(data_dir, UsageSettings, work)
    for name, used, most in (
        ("attachments", found.attachments, found.quotas.attachments),
        ("bytes", found.bytes, found.quotas.bytes),
        ("uploads today", found.uploads_today, found.quotas.uploads_per_day),
    ):
        print_line(f"{name}: {used} of {'no limit' if most is None else most}")


def parse_quota(option: str, text: str) -> int | None:
    """Parse a quota: a number, `none` (returns UNLIMITED) or `default` (returns None).

    Raises Misused for anything else.
    """
    from shared.part_settings import MAX_QUOTA
    from shared.quotas import UNLIMITED

    word = text.strip().lower()
    if word == "default":
        return None
    if word == "none":
        return UNLIMITED
    if word.isascii() and word.isdigit() and len(word) <= 19 and int(word) <= MAX_QUOTA:
        return int(word)
    raise Misused(f"{option}: must be an integer from 0 to {MAX_QUOTA}, none or default")
