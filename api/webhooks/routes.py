"""The routes of webhooks: list, show, create, update, delete, and replace the secret."""

from functools import partial
from typing import Any

from aiohttp import web

from api.bodies import read_json
from api.clients import client_address
from api.negotiation import check_accept, refuse_bulk
from api.parts import Parts, admit_admin, origin, with_key
from api.problems import Problem, document_response, not_found
from api.queries import given, unknown_parameter
from api.request_keys import GivenKey, run_once
from api.webhooks.attributes import check_changes, check_new
from api.webhooks.documents import webhook_resource
from api.words import path_id
from shared.database import Connection
from shared.idempotency import Repeated
from shared.log import get_logger
from shared.tokens import Caller
from shared.webhooks import registry
from shared.webhooks.kinds import MAX_WEBHOOKS
from shared.webhooks.registry import TooManyWebhooks, Webhook
from shared.webhooks.vault import Vault

PATH = "/api/v2/webhooks"
MAX_BODY_BYTES = 16 * 1024

log = get_logger(__name__)


def refuse_parameters(request: web.Request) -> None:
    """Raise Problem 400 if the address has a parameter, because these routes have none."""
    for name, _ in given(request):
        raise unknown_parameter(name)


async def find_webhook(request: web.Request, parts: Parts, caller: Caller) -> Webhook:
    """Return the webhook that the address names.

    Raises Problem 404 if the caller's organization has no such webhook.
    """
    run = parts.clients.of(caller.organization_id).run
    found = await run(registry.find, path_id(request), caller.organization_id)
    if found is None:
        raise not_found()
    return found


def audit(event: str, request: web.Request, caller: Caller, webhook_id: int) -> None:
    """Log a change of a webhook, with the token of the caller."""
    log.info(
        event,
        webhook=webhook_id,
        organization=caller.organization_id,
        token=caller.token_id,
        address=client_address(request),
    )


def _require_vault(parts: Parts) -> Vault:
    """Return the vault, which has the keys for secrets.

    If a setting for webhooks is missing, raises Problem 422, which names it.
    """
    vault, refused = parts.settings.vault, parts.settings.webhooks_refused
    if vault is None or refused is not None:
        raise Problem(
            422,
            [
                {
                    "status": "422",
                    "code": "not_configured",
                    "title": "Not Configured",
                    "detail": f"The service cannot send webhooks: {refused}",
                }
            ],
        )
    return vault


async def _read(request: web.Request, parts: Parts, caller: Caller, check: Any) -> dict[str, Any]:
    values: dict[str, Any] = await read_json(
        request,
        parts.readers,
        caller.organization_id,
        max_bytes=MAX_BODY_BYTES,
        check=check,
    )
    return values


def _show(parts: Parts, webhook: Webhook, secret: str | None = None, **more: Any) -> web.Response:
    resource = webhook_resource(parts.documents, webhook, secret=secret)
    return document_response({"data": resource, "meta": {}}, **more)


async def index(request: web.Request) -> web.Response:
    """Answer GET /api/v2/webhooks: all webhooks of the organization. The list has no pages."""
    parts, caller = await admit_admin(request)
    check_accept(request)
    refuse_parameters(request)
    run = parts.clients.of(caller.organization_id).run
    rows = await run(registry.list_all, caller.organization_id)
    data = [webhook_resource(parts.documents, row) for row in rows]
    return document_response(
        {"data": data, "meta": {"total_count": len(rows), "max_count": MAX_WEBHOOKS}}
    )


async def show(request: web.Request) -> web.Response:
    """Answer GET /api/v2/webhooks/{id}: one webhook, without its secret."""
    parts, caller = await admit_admin(request)
    check_accept(request)
    refuse_parameters(request)
    return _show(parts, await find_webhook(request, parts, caller))


@with_key(admit_admin)
async def create(
    request: web.Request, parts: Parts, caller: Caller, key: GivenKey | None
) -> web.Response:
    """Answer POST /api/v2/webhooks: create a webhook. Only this answer shows its secret."""
    refuse_bulk(request, only_for="attachments")
    check_accept(request)
    refuse_parameters(request)
    vault = _require_vault(parts)
    check = partial(check_new, settings=parts.settings)
    noted = check if key is None else key.noting(check)
    values = await _read(request, parts, caller, noted)

    async def make(connection: Connection) -> registry.WithSecret:
        return await registry.create(connection, caller.organization_id, values, vault)

    database = parts.clients.of(caller.organization_id)
    try:
        made = await run_once(database, key, make, lambda new: [new.webhook.id])
    except TooManyWebhooks as error:
        raise Problem(
            422,
            [
                {
                    "status": "422",
                    "code": "quota_exceeded",
                    "title": "Quota Exceeded",
                    "detail": str(error),
                    "meta": {"quota": "webhooks", "limit": MAX_WEBHOOKS},
                    "source": {"pointer": "data"},
                }
            ],
        ) from None
    if isinstance(made, Repeated):
        made = await _find_made(parts, caller, made, vault)
    else:
        audit("webhook created", request, caller, made.webhook.id)
    address = f"{origin(request, parts.settings)}{PATH}/{made.webhook.id}"
    return _show(parts, made.webhook, made.secret, status=201, headers={"Location": address})


async def update(request: web.Request) -> web.Response:
    """Answer PATCH /api/v2/webhooks/{id}. Making a webhook active resets its failures."""
    parts, caller = await admit_admin(request)
    refuse_bulk(request, only_for="attachments")
    check_accept(request)
    refuse_parameters(request)
    webhook = await find_webhook(request, parts, caller)
    changes = await _read(
        request,
        parts,
        caller,
        partial(check_changes, settings=parts.settings, webhook_id=webhook.id),
    )
    run = parts.clients.of(caller.organization_id).run
    changed = await run(registry.update, webhook.id, caller.organization_id, changes)
    if changed is None:
        raise not_found()
    audit("webhook changed", request, caller, changed.id)
    return _show(parts, changed)


async def delete(request: web.Request) -> web.Response:
    """Answer DELETE /api/v2/webhooks/{id}: no event is sent to the webhook any more."""
    parts, caller = await admit_admin(request)
    check_accept(request)
    refuse_parameters(request)
    webhook_id, run = path_id(request), parts.clients.of(caller.organization_id).run
    if not await run(registry.delete, webhook_id, caller.organization_id):
        raise not_found()
    audit("webhook deleted", request, caller, webhook_id)
    return web.Response(status=204)


@with_key(admit_admin, reads_body=False)
async def rotate(
    request: web.Request, parts: Parts, caller: Caller, key: GivenKey | None
) -> web.Response:
    """Answer POST /api/v2/webhooks/{id}/secret: make a new secret.

    The former secret stays valid for one more day.
    """
    check_accept(request)
    refuse_parameters(request)
    vault, webhook_id = _require_vault(parts), path_id(request)

    async def make(connection: Connection) -> registry.WithSecret:
        made = await registry.rotate(connection, webhook_id, caller.organization_id, vault)
        if made is None:
            raise not_found()
        return made

    database = parts.clients.of(caller.organization_id)
    made = await run_once(database, key, make, lambda new: [new.webhook.id])
    if isinstance(made, Repeated):
        made = await _find_made(parts, caller, made, vault)
    else:
        audit("secret of webhook replaced", request, caller, made.webhook.id)
    return _show(parts, made.webhook, made.secret)


async def _find_made(
    parts: Parts, caller: Caller, known: Repeated, vault: Vault
) -> registry.WithSecret:
    """Return the webhook that an earlier request made, with its present secret.

    Raises Problem 404 if the webhook no longer exists.
    """
    found = await parts.clients.of(caller.organization_id).run(
        registry.find_with_secret, known.made[0], caller.organization_id, vault
    )
    if found is None:
        raise not_found()
    return found


ROUTES = (
    web.get(PATH, index),
    web.post(PATH, create),
    web.get(f"{PATH}/{{id}}", show),
    web.patch(f"{PATH}/{{id}}", update),
    web.delete(f"{PATH}/{{id}}", delete),
    web.post(f"{PATH}/{{id}}/secret", rotate),
)
