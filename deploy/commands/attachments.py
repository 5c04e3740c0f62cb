"""Commands for operators that show attachments: `show`, `list` and `count`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.commands.environment import Unusable, note, print_line, with_database
from deploy.commands.options import (
    LOCAL,
    AttachmentId,
    DataDir,
    Json,
    OneOrganization,
    check_word,
)
from shared.keys import MAX_ID

if TYPE_CHECKING:
    from shared.attachments import Attachment
    from shared.database import Database
    from shared.overview import Selection
    from shared.states import State

AT_A_TIME = 1000
"""Maximum number of rows per statement, so that each statement ends well within the server's
timeout."""

OneState = Annotated[str | None, typer.Option(metavar="STATE", help="Such as failed or ready.")]
OneReason = Annotated[
    str | None, typer.Option(metavar="CODE", help="A code of deploy/docs/contract.md, Reasons.")
]


def show(attachment_id: AttachmentId, as_json: Json = False, data_dir: DataDir = LOCAL) -> None:
    """Show an attachment of any organization, deleted or not, as it is in the database."""
    from deploy.commands import output
    from shared.addresses import without_credentials
    from shared.attachments import FIELDS, find_any
    from shared.part_settings import DatabaseSettings
    from shared.reasons import sentence

    row = with_database(
        data_dir, DatabaseSettings, lambda database, _: database.run(find_any, attachment_id)
    )
    if row is None:
        raise Unusable(f"there is no attachment {attachment_id}")
    values: dict[str, Any] = {"id": row.id, "state": row.state, "reason": row.reason}
    values["reason_detail"] = sentence(row.reason) if row.reason else None
    for name in ("attempt", "due_at"):
        values[name] = getattr(row, name)
    values |= {"key": row.key, "thumbnail_key": row.thumbnail_key}
    values |= {name: getattr(row, name) for name in FIELDS if name != "age_s"}
    if row.temp_url is not None:
        values["temp_url"] = without_credentials(row.temp_url)
    if as_json:
        output.print_json(values)
    else:
        output.print_table(("attachment", ""), values.items())


def list_attachments(
    organization: OneOrganization = None,
    state: OneState = None,
    reason: OneReason = None,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="Number of rows, newest first.")
    ] = 50,
    before: Annotated[
        int | None, typer.Option(metavar="ID", min=1, max=MAX_ID, help="Only those with lower ids.")
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = LOCAL,
) -> None:
    """List attachments that are not deleted, the newest first."""
    from deploy.commands import output
    from shared.part_settings import DatabaseSettings

    wanted = select(organization, state, reason)

    async def work(database: "Database", _: DatabaseSettings) -> "list[Attachment]":
        await check_organization(database, organization)
        return await _newest(database, wanted, limit + 1, before)

    found = with_database(data_dir, DatabaseSettings, work)
    rows = found[:limit]
    if as_json:
        output.print_json([_described(row) for row in rows])
    else:
        for line in table(rows, output.width()):
            print_line(line)
    if len(found) > limit:
        note(f"there are more: --before {rows[-1].id} lists those that are older")


def count(
    organization: OneOrganization = None, as_json: Json = False, data_dir: DataDir = LOCAL
) -> None:
    """Count the attachments of each state. Numbers above 100,000 are estimates."""
    from deploy.commands import output
    from shared.lists import MAX_COUNTED
    from shared.overview import count_states, estimate_state
    from shared.part_settings import DatabaseSettings

    async def work(
        database: "Database", _: DatabaseSettings
    ) -> "tuple[dict[State, int], list[State]]":
        await check_organization(database, organization)
        counts = await database.run(count_states, organization)
        estimated = [state for state, number in counts.items() if number > MAX_COUNTED]
        for state in estimated:
            counts[state] = await database.run(estimate_state, state, organization)
        return counts, estimated

    counts, estimated = with_database(data_dir, DatabaseSettings, work)
    if as_json:
        output.print_json({"states": counts, "estimated": estimated})
        return
    output.print_table(
        ("state", "attachments"),
        (
            (state, f"about {number}" if state in estimated else number)
            for state, number in counts.items()
        ),
    )


def select(
    organization: int | None,
    state: str | None,
    reason: str | None,
    *,
    states: "tuple[State, ...] | None" = None,
) -> "Selection":
    """Return the selection for the options `--organization`, `--state` and `--reason`.

    `states` are the allowed states; by default all are allowed. Raises Misused for an unknown state
    or reason.
    """
    from shared.overview import Selection
    from shared.reasons import REASONS
    from shared.states import STATES

    known = STATES if states is None else states
    one = check_word("--state", state, known)
    return Selection(
        states=known if one is None else (one,),
        reason=check_word("--reason", reason, tuple(REASONS)),
        organization_id=organization,
    )


async def check_organization(database: "Database", organization: int | None) -> None:
    """Raise Unusable if `organization` is not None and does not exist."""
    from shared.organizations import exists

    if organization is not None and not await database.run(exists, organization):
        raise Unusable(f"--organization: there is no organization {organization}")


async def _newest(
    database: "Database", wanted: "Selection", limit: int, before: int | None
) -> "list[Attachment]":
    from shared.overview import list_newest

    found: list[Attachment] = []
    while len(found) < limit:
        size = min(AT_A_TIME, limit - len(found))
        batch = await database.run(list_newest, wanted, limit=size, before=before)
        found += batch
        if len(batch) < size:
            break
        before = batch[-1].id
    return found


def table(rows: "Sequence[Attachment]", width: int) -> list[str]:
    """Return the lines of a table, one for each row, at most `width` cells wide if possible."""
    from deploy.commands.lines import fit
    from deploy.commands.output import plain

    columns: list[tuple[str, list[str]]] = [
        (">id", [plain(row.id) for row in rows]),
        (">org.", [plain(row.organization_id) for row in rows]),
        ("<state", [plain(row.state) for row in rows]),
        ("<reason", [plain(row.reason) for row in rows]),
        (">bytes", [plain(row.size) for row in rows]),
        ("<created", [row.created_at.isoformat(" ", "seconds") for row in rows]),
        ("<name", [plain(row.name) for row in rows]),
    ]
    return fit(columns, width, spare=("<created", ">bytes"))


def _described(row: "Attachment") -> dict[str, Any]:
    """Return an attachment as an item of the JSON list.

    The addresses of its files are left out, because some contain a signature.
    """
    from shared.facts import FACTS

    names = (
        *("id", "organization_id", "state", "reason", "name"),
        *(name for name in FACTS if name not in ("checksum_sha256", "thumbhash", "carries_more")),
        *("resized", "attachable_type", "attachable_id", "attempt", "due_at"),
        *("created_at", "uploaded_at", "processed_at"),
    )
    return {name: getattr(row, name) for name in names}
