"""The settings of webhooks, and the service's public addresses, from which links are made."""

from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import Field, SecretStr, field_validator

from shared.part_settings import (
    PREFIX,
    DatabaseSettings,
    LogSettings,
    Words,
    check_address,
    split_setting,
)
from shared.proxies import Network, parse_network

if TYPE_CHECKING:
    from shared.webhooks.vault import Vault

MIN_KEY = 16


class WebhookSettings(LogSettings):
    """The settings of webhooks, and the public addresses of the files and of the API."""

    files_url: str | None = None
    api_url: str | None = None
    webhook_secret: SecretStr | None = None
    webhook_secret_previous: SecretStr | None = None
    webhook_allow_http: bool = False
    webhook_networks: Words = ()
    webhook_concurrency: int = Field(512, ge=1, le=4096, description="deliveries in flight")

    _public_addresses = field_validator("files_url", "api_url")(check_address)

    @field_validator("webhook_secret", "webhook_secret_previous")
    @classmethod
    def _keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        if len(value.get_secret_value()) < MIN_KEY:
            raise ValueError(f"must have at least {MIN_KEY} characters")
        return value

    _network_list = field_validator("webhook_networks", mode="before")(split_setting)

    @field_validator("webhook_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            parse_network(word)
        return value

    @cached_property
    def allowed_networks(self) -> tuple[Network, ...]:
        """Networks that are not public, but to which webhooks may be sent."""
        return tuple(parse_network(word) for word in self.webhook_networks)

    @cached_property
    def vault(self) -> "Vault | None":
        """The keys that encrypt the secrets of webhooks; None if the setting is missing."""
        from shared.webhooks.vault import Vault  # its import takes long

        keys = [
            each.get_secret_value()
            for each in (self.webhook_secret, self.webhook_secret_previous)
            if each is not None
        ]
        return Vault(*keys) if self.webhook_secret is not None else None

    @property
    def webhooks_refused(self) -> str | None:
        """The missing setting that prevents webhooks, or None if they can be created and sent."""
        if self.api_url is None and self.files_url is None:
            return f"{PREFIX}API_URL is not set, and the links in webhooks need it"
        if self.webhook_secret is None:
            return f"{PREFIX}WEBHOOK_SECRET is not set, and it encrypts the secrets of webhooks"
        return None


class WebhookCommandSettings(WebhookSettings, DatabaseSettings):
    """The settings of the command `attachments webhooks`."""
