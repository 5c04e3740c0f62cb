"""`attachments retry`: process attachments again, selected by id, state or reason."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.commands.attachments import OneReason, check_organization, select
from deploy.commands.environment import Misused, note, print_line, with_database
from deploy.commands.options import LOCAL, DataDir, OneOrganization
from shared.keys import MAX_ID

if TYPE_CHECKING:
    from shared.database import Database
    from shared.overview import Selection
    from shared.states import State

AT_A_TIME = 500

BY_STATE: "tuple[State, ...]" = ("failed", "rejected")
BY_REASON: "tuple[State, ...]" = ("ready", *BY_STATE)
"""An operator may retry all attachments in a state of BY_STATE, or all attachments that have a
certain reason and are in a state of BY_REASON. So `ready` attachments without a reason are never
processed again."""


def retry(
    ids: Annotated[list[int] | None, typer.Argument(metavar="[ID]...", min=1, max=MAX_ID)] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Retry all that are failed: --state failed.")
    ] = False,
    state: Annotated[
        str | None, typer.Option(metavar="failed|rejected", help="Retry all in this state.")
    ] = None,
    reason: OneReason = None,
    style: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Make thumbnails in this style for ready attachments without one."
        ),
    ] = None,
    organization: OneOrganization = None,
    data_dir: DataDir = LOCAL,
) -> None:
    """Process failed and rejected attachments again, and ready ones that have a reason.

    With --reason, all attachments in these states that have this reason are processed again. With
    --style, all ready attachments are processed again that have a thumbnail, but not in this style
    of ATTACHMENTS_STYLES.
    """
    if style is not None:
        if ids or failed or state is not None or reason is not None:
            raise Misused("--style goes with --organization only")
        from deploy.commands.restyling import restyle

        raise typer.Exit(restyle(style, organization, data_dir))
    if failed and state not in (None, "failed"):
        raise Misused("give either --failed or --state")
    state = "failed" if failed else state
    if bool(ids) == (state is not None or reason is not None):
        raise Misused("give either IDs or --failed, --state, --reason or --style")
    if ids and organization is not None:
        raise Misused(
            "--organization goes with --failed, --state, --reason and --style, not with IDs"
        )
    wanted = None
    if not ids:
        select(organization, state, None, states=BY_STATE)  # raises Misused for `--state ready`
        wanted = select(organization, state, reason, states=BY_REASON)
    from shared import lifecycle
    from shared.deployment import find_prefix
    from shared.part_settings import QueueSettings
    from shared.publisher import Publisher

    async def work(database: "Database", settings: QueueSettings) -> bool:
        await check_organization(database, organization)
        prefix = await find_prefix(database, settings)
        publisher = Publisher(settings.broker_url.get_secret_value(), prefix)

        async def send(batch: list[int]) -> set[int]:
            woken = await database.run(lifecycle.retry, batch)
            for wake_up in woken:
                publisher.publish(wake_up)
                print_line(f"{wake_up.attachment_id}: is processed again")
            return {wake_up.attachment_id for wake_up in woken}

        try:
            if wanted is None:
                numbers = set(ids or ())
                all_known = await _explain(database, sorted(numbers - await send(list(numbers))))
            else:
                all_known = True
                await _send_all(database, wanted, send)
        finally:
            publisher.close()
        if publisher.dropped:
            note(publisher.left_to_sweep)
        return all_known

    raise typer.Exit(0 if with_database(data_dir, QueueSettings, work) else 1)


async def _explain(database: "Database", numbers: list[int]) -> bool:
    """Print why these attachments are not processed again. Returns True if all of them exist."""
    from shared.attachments import find_any

    all_known = True
    for number in numbers:
        row = await database.run(find_any, number)
        if row is None:
            all_known = False
            note(f"{number}: no attachment has this id")
        elif row.deleted_at is not None:
            print_line(f"{number}: is deleted; nothing was done")
        else:
            print_line(f"{number}: is {row.state}, not failed or rejected; nothing was done")
    return all_known


async def _send_all(
    database: "Database", wanted: "Selection", send: "Callable[[list[int]], Awaitable[set[int]]]"
) -> None:
    """Call `send` with the ids of all selected attachments. Print a message if there are none."""
    from shared.overview import list_ids

    sent = after = 0
    while batch := await database.run(list_ids, wanted, after=after, limit=AT_A_TIME):
        sent += len(await send(batch))
        after = batch[-1]
    if not sent:
        which = " or ".join(wanted.states)
        why = f" for {wanted.reason}" if wanted.reason else ""
        whose = f" of organization {wanted.organization_id}" if wanted.organization_id else ""
        note(f"no attachment{whose} is {which}{why}; nothing was done")
