"""Functions that run the webhook commands for a service whose fields all hold hostile text."""

from pathlib import Path

from tests.support.commands import Ended, command
from tests.support.receiver import SETTINGS
from tests.support.service import Service


class HostileWebhooks:
    """Runs of `attachments webhooks …`, one method for each command.

    `text` is a hostile text that PostgreSQL can store and that can be an argument.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    async def _make(self, service: Service) -> tuple[str, ...]:
        """Create a webhook with hostile text in all fields, and a delivery.

        Return the arguments that name the webhook.
        """
        organization = ("--organization", str(service.client.organization_id))
        url = "https://receiver.example/hook"
        made = await command(service, "webhooks", "create", url, *organization, **SETTINGS)
        assert made.status == 0, made.err
        number = await service.database.fetchval("SELECT max(id) FROM webhooks")
        named = (str(number), *organization)
        assert (await command(service, "webhooks", "test", *named)).status == 0
        await service.execute(
            "UPDATE webhooks SET target_url = $2, description = $2, events = ARRAY[$2]"
            " WHERE id = $1",
            number,
            self._text,
        )
        await service.execute(
            "UPDATE webhook_deliveries SET event = $2, fault = $2 WHERE webhook_id = $1",
            number,
            self._text,
        )
        return named

    async def create(self, service: Service, _: Path) -> list[Ended]:
        """Run `webhooks create`."""
        organization = ("--organization", str(service.client.organization_id))
        url = "https://receiver.example/hook"
        more = (("--description", self._text), ("--event", self._text))
        return [
            await command(service, "webhooks", "create", *given, *organization, **SETTINGS)
            for given in ((url, *more[0]), (url, *more[1]), (self._text,))
        ]

    async def list_all(self, service: Service, _: Path) -> list[Ended]:
        """Run `webhooks list`."""
        organization = (await self._make(service))[1:]
        return [
            await command(service, "webhooks", "list", *organization, *more)
            for more in ((), ("--json",))
        ]

    async def show(self, service: Service, _: Path) -> list[Ended]:
        """Run `webhooks show`."""
        named = await self._make(service)
        return [
            await command(service, "webhooks", "show", *named, *more) for more in ((), ("--json",))
        ]

    async def update(self, service: Service, _: Path) -> list[Ended]:
        """Run `webhooks update`."""
        named = await self._make(service)
        return [
            await command(service, "webhooks", "update", *named, *more, **SETTINGS)
            for more in (("--inactive",), ("--url", self._text), ("--event", self._text))
        ]

    async def delete(self, service: Service, _: Path) -> list[Ended]:
        """Run `webhooks delete`."""
        named = await self._make(service)
        return [await command(service, "webhooks", "delete", *named) for _ in range(2)]

    async def rotate(self, service: Service, _: Path) -> list[Ended]:
        """Run `webhooks rotate`."""
        named = await self._make(service)
        return [
            await command(service, "webhooks", "rotate", *named, **more)
            for more in (SETTINGS, {}, {"webhook_secret": self._text})
        ]

    async def test(self, service: Service, _: Path) -> list[Ended]:
        """Run `webhooks test`."""
        return [await command(service, "webhooks", "test", *await self._make(service))]

    async def deliveries(self, service: Service, _: Path) -> list[Ended]:
        """Run `webhooks deliveries`."""
        named = await self._make(service)
        return [
            await command(service, "webhooks", "deliveries", *named, *more)
            for more in ((), ("--json",), ("--state", self._text))
        ]

    async def retry(self, service: Service, _: Path) -> list[Ended]:
        """Run `webhooks retry`."""
        named = await self._make(service)
        return [
            await command(service, "webhooks", "retry", *named, *more)
            for more in (("--since", "2020-01-01T00:00Z"), ("--since", self._text))
        ]
