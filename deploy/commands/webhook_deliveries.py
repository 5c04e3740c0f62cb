"""Commands for operators about the deliveries of a webhook: list, retry, test."""

from typing import TYPE_CHECKING, Annotated

import typer

from deploy.commands.environment import Misused, Unusable, print_line
from deploy.commands.options import LOCAL, DataDir, Json, Organization, check_word
from deploy.commands.webhooks import WebhookId, missing, run_work
from shared.keys import MAX_ID

if TYPE_CHECKING:
    from shared.database import Database
    from shared.webhook_settings import WebhookCommandSettings


def list_deliveries(
    webhook_id: WebhookId,
    organization: Organization,
    state: Annotated[
        str | None, typer.Option(metavar="pending|delivered|failed", help="Only these.")
    ] = None,
    delivery: Annotated[
        int | None, typer.Option(min=1, max=MAX_ID, help="Only this delivery.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: Json = False,
    data_dir: DataDir = LOCAL,
) -> None:
    """List the newest deliveries of a webhook, or show one of them."""
    from dataclasses import asdict

    from deploy.commands import output
    from shared.webhooks import deliveries, registry
    from shared.webhooks.kinds import DELIVERY_STATES
    from shared.webhooks.secret_signing import written_id

    if delivery is not None and state is not None:
        raise Misused("give either --delivery or --state")
    wanted = check_word("--state", state, DELIVERY_STATES)

    async def work(
        database: "Database", _: "WebhookCommandSettings"
    ) -> "list[deliveries.DeliveryRow]":
        if await database.run(registry.find, webhook_id, organization) is None:
            raise missing(webhook_id, organization)
        if delivery is not None:
            row = await database.run(deliveries.find, webhook_id, delivery, organization)
            if row is None:
                raise Unusable(f"webhook {webhook_id} has no delivery {delivery}")
            return [row]
        return await database.run(
            deliveries.list_page, webhook_id, state=wanted, before=MAX_ID, limit=limit
        )

    found = run_work(data_dir, work)
    if as_json:
        output.print_json(
            [{**asdict(row), "message_id": written_id(row.message_id)} for row in found]
        )
        return
    output.print_table(
        ("id", "event", "attachment", "state", "attempts", "status", "fault", "created", "next"),
        (
            (
                row.id,
                row.event,
                row.attachment_id,
                row.state,
                row.attempt,
                row.status,
                row.fault,
                row.created_at,
                row.due_at,
            )
            for row in found
        ),
    )


def retry_deliveries(
    webhook_id: WebhookId,
    organization: Organization,
    delivery: Annotated[
        int | None, typer.Option(min=1, max=MAX_ID, help="Only this delivery.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="All failed ones since then: 2027-01-31T12:00+02:00."),
    ] = None,
    data_dir: DataDir = LOCAL,
) -> None:
    """Send one delivery again, or all that failed since a time.

    A worker sends them within a sweep interval.
    """
    from deploy.commands.expiry import parse_moment
    from shared.webhooks import deliveries

    if (delivery is None) == (since is None):
        raise Misused("give either --delivery or --since")
    begin = None if since is None else parse_moment("--since", since)

    async def work(database: "Database", _: "WebhookCommandSettings") -> int:
        if delivery is not None:
            found = await database.run(deliveries.retry, webhook_id, delivery, organization)
            return int(found is not None)
        assert begin is not None
        count = 0
        while more := await database.run(deliveries.retry_since, webhook_id, organization, begin):
            count += more
        return count

    count = run_work(data_dir, work)
    if not count:
        raise Unusable("nothing to retry: no such failed delivery, or the webhook is not active")
    print_line(f"{webhook_id}: {count} due now")


def send_test(webhook_id: WebhookId, organization: Organization, data_dir: DataDir = LOCAL) -> None:
    """Queue the event webhook.test. A worker sends it within a sweep interval."""
    from shared.webhooks import deliveries

    async def work(database: "Database", _: "WebhookCommandSettings") -> bool:
        return await database.run(deliveries.queue_test, webhook_id, organization) is not None

    if not run_work(data_dir, work):
        raise Unusable(f"organization {organization} has no active webhook {webhook_id}")
    print_line(f"{webhook_id}: a test event is queued")
