"""Commands for operators about the webhooks of an organization."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from deploy.commands.attachments import check_organization
from deploy.commands.environment import Misused, Unusable, note, print_line, with_database
from deploy.commands.options import LOCAL, DataDir, Json, Organization, check_name
from shared.keys import MAX_ID

if TYPE_CHECKING:
    from shared.database import Database
    from shared.webhook_settings import WebhookCommandSettings
    from shared.webhooks.registry import Webhook, WithSecret

T = TypeVar("T")
Work = Callable[["Database", "WebhookCommandSettings"], Awaitable[T]]

webhooks_app = typer.Typer(help="Create, change and remove webhooks; list and retry deliveries.")

WebhookId = Annotated[int, typer.Argument(metavar="ID", min=1, max=MAX_ID)]
Url = Annotated[str, typer.Argument(metavar="URL", help="Where deliveries are posted.")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", metavar="TYPE", help="Such as attachment.ready; all by default."),
]


def run_work(data_dir: "DataDir", work: "Work[T]") -> T:
    """Run `work` with the database and the webhook settings, and return its result.

    Raises the same errors as `with_database`.
    """
    from shared.webhook_settings import WebhookCommandSettings

    return with_database(data_dir, WebhookCommandSettings, work)


def _check_events(given: list[str] | None) -> list[str]:
    from shared.webhooks.kinds import EVENTS

    names = [name.strip() for option in given or [] for name in option.split(",")]
    for name in names:
        if name not in EVENTS:
            raise Misused(f"--event: must be one or more of {', '.join(EVENTS)}")
    return list(dict.fromkeys(names)) or list(EVENTS)


def _check_url(url: str, settings: "WebhookCommandSettings") -> None:
    from shared.webhooks.destinations import find_fault

    fault = find_fault(
        url, allow_http=settings.webhook_allow_http, networks=settings.allowed_networks
    )
    if fault is not None:
        raise Misused(f"URL {fault}")


def _check_description(text: str | None) -> str | None:
    """Return the description of a webhook, or None for a blank one, as the API does.

    Raises Misused if it is too long, not UTF-8 or not one line.
    """
    from shared.webhooks.kinds import MAX_DESCRIPTION

    if text is None or not text.strip():
        return None
    check_name("--description", text)
    if len(text) > MAX_DESCRIPTION:
        raise Misused(f"--description is too long (maximum is {MAX_DESCRIPTION} characters)")
    if "\n" in text or "\r" in text:
        raise Misused("--description must be one line")
    return text


def _print_secret(made: "WithSecret", as_json: bool) -> None:
    from deploy.commands import output

    if as_json:
        output.print_json({"id": made.webhook.id, "secret": made.secret})
    else:
        print_line(made.secret)
    note(f"This is the secret of webhook {made.webhook.id}. It is not shown again.")


@webhooks_app.command("create")
def create_webhook(
    url: Url,
    organization: Organization,
    event: Events = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    as_json: Json = False,
    data_dir: DataDir = LOCAL,
) -> None:
    """Create a webhook. Its secret is printed once, alone on standard output."""
    from shared.webhooks import registry

    values = {
        "target_url": url,
        "events": _check_events(event),
        "description": _check_description(description),
        "active": True,
    }

    async def work(database: "Database", settings: "WebhookCommandSettings") -> "WithSecret":
        vault, refused = settings.vault, settings.webhooks_refused
        if vault is None or refused is not None:
            raise Unusable(f"no webhook can be made: {refused}")
        _check_url(url, settings)
        await check_organization(database, organization)
        return await database.run(registry.create, organization, values, vault)

    _print_secret(run_work(data_dir, work), as_json)


def _print_webhooks(found: "list[Webhook]", as_json: bool, more: tuple[str, ...] = ()) -> None:
    from dataclasses import asdict

    from deploy.commands import output

    if as_json:
        output.print_json([asdict(each) for each in found])
        return
    output.print_table(
        (
            *("id", "active", "events", "created", "failing since", "deactivated", "because"),
            *more,
            "url",
        ),
        (
            (
                row.id,
                "yes" if row.active else "no",
                " ".join(each.removeprefix("attachment.") for each in row.events),
                row.created_at,
                row.failing_since,
                row.deactivated_at,
                row.deactivated_because,
                *(getattr(row, name) for name in more),
                row.target_url,
            )
            for row in found
        ),
    )


@webhooks_app.command("list")
def list_webhooks(
    organization: Organization, as_json: Json = False, data_dir: DataDir = LOCAL
) -> None:
    """List the webhooks of an organization, without their secrets."""
    from shared.webhooks import registry

    async def work(database: "Database", _: "WebhookCommandSettings") -> "list[registry.Webhook]":
        await check_organization(database, organization)
        return await database.run(registry.list_all, organization)

    _print_webhooks(run_work(data_dir, work), as_json)


@webhooks_app.command("show")
def show_webhook(
    webhook_id: WebhookId,
    organization: Organization,
    as_json: Json = False,
    data_dir: DataDir = LOCAL,
) -> None:
    """Show one webhook of an organization, without its secrets."""
    from shared.webhooks import registry

    async def work(database: "Database", _: "WebhookCommandSettings") -> "registry.Webhook | None":
        return await database.run(registry.find, webhook_id, organization)

    found = run_work(data_dir, work)
    if found is None:
        raise missing(webhook_id, organization)
    _print_webhooks([found], as_json, ("description",))


@webhooks_app.command("update")
def update_webhook(
    webhook_id: WebhookId,
    organization: Organization,
    url: Annotated[str | None, typer.Option(help="Another address.")] = None,
    event: Events = None,
    description: Annotated[
        str | None, typer.Option(help="What it is for; an empty text removes it.")
    ] = None,
    active: Annotated[
        bool | None, typer.Option("--active/--inactive", help="Whether deliveries are sent.")
    ] = None,
    data_dir: DataDir = LOCAL,
) -> None:
    """Change a webhook. Making it active also resets its count of failures."""
    from shared.webhooks import registry

    given = {"target_url": url, "active": active}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if event:
        changes["events"] = _check_events(event)
    if description is not None:
        changes["description"] = _check_description(description)

    async def work(database: "Database", settings: "WebhookCommandSettings") -> bool:
        if url is not None:
            _check_url(url, settings)
        return await database.run(registry.update, webhook_id, organization, changes) is not None

    _say(run_work(data_dir, work), webhook_id, organization, "is changed")


@webhooks_app.command("delete")
def delete_webhook(
    webhook_id: WebhookId, organization: Organization, data_dir: DataDir = LOCAL
) -> None:
    """Remove a webhook and its secrets. No event is sent to it any more."""
    from shared.webhooks import registry

    async def work(database: "Database", _: "WebhookCommandSettings") -> bool:
        return await database.run(registry.delete, webhook_id, organization)

    _say(run_work(data_dir, work), webhook_id, organization, "is removed")


@webhooks_app.command("rotate")
def rotate_secret(
    webhook_id: WebhookId,
    organization: Organization,
    as_json: Json = False,
    data_dir: DataDir = LOCAL,
) -> None:
    """Replace the secret of a webhook and print the new one.

    For one more day, deliveries are signed with the former secret as well.
    """
    from shared.webhooks import registry

    async def work(database: "Database", settings: "WebhookCommandSettings") -> "WithSecret | None":
        vault, refused = settings.vault, settings.webhooks_refused
        if vault is None:
            raise Unusable(f"no secret can be made: {refused}")
        return await database.run(registry.rotate, webhook_id, organization, vault)

    made = run_work(data_dir, work)
    if made is None:
        raise missing(webhook_id, organization)
    _print_secret(made, as_json)


def missing(webhook_id: int, organization: int) -> Unusable:
    """Return the error for a webhook that the organization does not have."""
    return Unusable(f"organization {organization} has no webhook {webhook_id}")


def _say(done: bool, webhook_id: int, organization: int, what: str) -> None:
    if not done:
        raise missing(webhook_id, organization)
    print_line(f"{webhook_id}: {what}")
