"""Groups of settings, so that a command reads only the settings that it uses.

`shared.settings.Settings` combines all groups for the API, the worker and the consumer.
"""

import getpass
import os
import re
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from shared.database_address import parse_address
from shared.fences import is_bucket_name

if TYPE_CHECKING:
    from shared.store_address import StoreAddress

PREFIX = "ATTACHMENTS_"

# botocore's own rule for names of regions.
REGION = re.compile(r"(?![0-9]+\Z)(?!-)[A-Za-z0-9-]{1,63}(?<!-)")

# Characters that have no special meaning in a shell or in the key pattern of an ACL.
QUEUE_PREFIX = re.compile(r"[A-Za-z0-9._:/{}-]{1,100}", re.ASCII)

MAX_QUOTA = 2**62  # the sum of two quotas must fit into a bigint


Words = Annotated[tuple[str, ...], NoDecode]
"""The type of a setting that is a list of words, separated by commas."""


def split_words(value: Any) -> Any:
    """Split a comma-separated setting into words, without white space and empty words.

    A value of another type than str is returned unchanged.
    """
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


def split_setting(value: Any) -> Any:
    """Split a setting as `split_words` does. Raises ValueError if it has only commas."""
    words = split_words(value)
    if value and not words:
        raise ValueError("has commas, but no entry between them")
    return words


def none_if_blank(value: Any) -> Any:
    """Return None for an empty setting: Docker Compose can only empty a variable, not unset it."""
    return None if value == "" else value


def refuse_blank(value: Any) -> Any:
    """Raise ValueError if a required setting is empty, as if it were missing."""
    if value == "":
        raise ValueError("is not set")
    return value


def check_address(value: str | None) -> str | None:
    """Check an http(s) address, and remove a slash at its end. Returns None for an empty address.

    Raises ValueError. Its text names the broken rule, but not the address.
    """
    if value is None or value == "":
        return None
    parts = _split_address(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("must have no user, query or fragment")
    return value.rstrip("/")


def _split_address(value: str) -> SplitResult:
    """Split an address. Raises ValueError, without the address, if that fails."""
    try:
        value.encode()  # raises ValueError if the variable's bytes are not valid UTF-8
        parts = urlsplit(value)
        # an address of PostgreSQL may have several hosts
        for host in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError:
        raise ValueError(
            "is not a valid address: the port must be a number, and in user and password"
            " characters such as / ? # [ ] @ must be percent-encoded"
        ) from None
    return parts


def _has_user_name() -> bool:
    """Return whether the database driver finds a user name if the address contains no user name.

    The driver uses PGUSER, or the name of the process's user, which may be missing in a container.
    """
    if os.environ.get("PGUSER"):
        return True
    try:
        return bool(getpass.getuser())
    except (KeyError, OSError, ImportError):
        return False


class LogSettings(BaseSettings):
    """The settings of the log. Every other group includes them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read only environment variables. Looking for files too would double the time."""
        return init_settings, env_settings

    log_format: Literal["console", "json"] = "console"
    log_requests: bool = True


class DatabaseSettings(LogSettings):
    """The settings of the connection to PostgreSQL."""

    database_url: SecretStr
    database_direct_url: SecretStr | None = None
    database_pool: int = Field(10, ge=2, le=100, description="connections per process")

    _needed = field_validator("database_url", mode="before")(refuse_blank)
    _blank = field_validator("database_direct_url", mode="before")(none_if_blank)

    @field_validator("database_url", "database_direct_url")
    @classmethod
    def _database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parts = _split_address(value.get_secret_value())
            parse_address(value.get_secret_value())
            words = dict(parse_qsl(parts.query))
            if not (parts.username or "user" in words or "service" in words or _has_user_name()):
                raise ValueError("contains no user, and the user of this process has no name")
        return value

    @property
    def session_url(self) -> str:
        """The database address for LISTEN and migrations, which need a session without pooler."""
        return (self.database_direct_url or self.database_url).get_secret_value()


class BrokerSettings(LogSettings):
    """The settings of the connection to the broker, and the prefix of this deployment's keys."""

    broker_url: SecretStr
    queue_prefix: str | None = None

    _needed_broker = field_validator("broker_url", mode="before")(refuse_blank)
    _blank_prefix = field_validator("queue_prefix", mode="before")(none_if_blank)

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, value: SecretStr) -> SecretStr:
        parts = _split_address(value.get_secret_value())
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError("must be a redis://, rediss:// or unix:// address")
        number = parts.path.strip("/")
        if parts.scheme != "unix" and number and not number.isdecimal():
            raise ValueError(
                "is not a valid address: its path must be the number of a database,"
                " and / in a password be percent-encoded"
            )
        return value

    @field_validator("queue_prefix")
    @classmethod
    def _prefix(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not QUEUE_PREFIX.fullmatch(value):
            raise ValueError("must be 1 to 100 letters, digits and characters from . _ : / { } -")
        # The prefix ends with a colon. So no key of one prefix begins with another prefix, even if
        # the prefixes are `a` and `ab`.
        return value if value.endswith(":") else f"{value}:"


class BucketSettings(LogSettings):
    """The bucket's name, for commands that compare it and do not call the store."""

    s3_bucket: str

    _needed_bucket = field_validator("s3_bucket", mode="before")(refuse_blank)

    @field_validator("s3_bucket")
    @classmethod
    def _bucket(cls, value: str) -> str:
        if not is_bucket_name(value):
            raise ValueError(
                "must be the name of a bucket: 3 to 63 lower-case letters, digits, dots and"
                " hyphens, a letter or digit at both ends, no two dots in a row, no IP address"
            )
        return value


class StoreSettings(BucketSettings):
    """The settings with which the service and its clients reach the store."""

    s3_region: str = "us-east-1"
    s3_endpoint_url: str | None = None
    s3_public_url: str | None = None

    _store_addresses = field_validator("s3_endpoint_url", "s3_public_url")(check_address)

    @field_validator("s3_region")
    @classmethod
    def _region(cls, value: str) -> str:
        if not REGION.fullmatch(value):
            raise ValueError(
                "must be a region such as eu-west-1: up to 63 letters, digits and hyphens,"
                " no hyphen at either end"
            )
        return value

    @cached_property
    def upload_url(self) -> str:
        """The address to which clients post uploads, with the bucket's name."""
        return self.s3_public_url or self.store.url

    @cached_property
    def store(self) -> "StoreAddress":
        """The address at which the service reaches the bucket, found by botocore's rules.

        Computed once. Raises SettingsError if botocore finds no address.
        """
        from shared.store_address import find_store

        region = self.s3_region if "s3_region" in self.model_fields_set else None
        return find_store(self.s3_bucket, region, self.s3_endpoint_url)


class WaitSettings(LogSettings):
    """How long the sweep waits for a wake-up of a new upload, and for an event of a pending row."""

    publish_grace: float = Field(15, ge=0.1, le=300, description="seconds")
    pending_check: float = Field(75, ge=0.1, le=3600, description="seconds")


class QuotaSettings(LogSettings):
    """The quotas of organizations that have no quotas of their own."""

    quota_bytes: int | None = Field(None, ge=0, le=MAX_QUOTA, description="bytes")
    quota_attachments: int | None = Field(None, ge=0, le=MAX_QUOTA)
    quota_uploads_per_day: int | None = Field(None, ge=0, le=MAX_QUOTA)

    _blank_quotas = field_validator(
        "quota_bytes", "quota_attachments", "quota_uploads_per_day", mode="before"
    )(none_if_blank)


class QueueSettings(BrokerSettings, DatabaseSettings):
    """The settings to publish wake-ups, for `attachments retry`."""


class ReplaySettings(WaitSettings, BucketSettings, QueueSettings):
    """The settings to record events, for `attachments events replay`."""


class ReconcileSettings(WaitSettings, StoreSettings, QueueSettings):
    """The settings to compare the rows with the bucket, for `attachments reconcile`."""


class UsageSettings(QuotaSettings, DatabaseSettings):
    """The settings to count usage: `attachments usage` and `attachments organizations limit`."""
