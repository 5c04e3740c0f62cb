"""Settings by part of the service, so that a command reads only those that it uses.

The whole, for processes, is `shared.settings.Settings`, which is made of these.
"""

import getpass
import os
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.database_address import parse_address
from shared.fences import is_bucket_name

if TYPE_CHECKING:
    from shared.store_address import StoreAddress

PREFIX = "ATTACHMENTS_"

# botocore's own rule of a region.
REGION = re.compile(r"(?![0-9]+\Z)(?!-)[A-Za-z0-9-]{1,63}(?<!-)")

# Nothing that a shell, or an ACL's pattern of keys, reads in another way.
QUEUE_PREFIX = re.compile(r"[A-Za-z0-9._:/{}-]{1,100}", re.ASCII)

MAX_QUOTA = 2**62  # a sum of two must stay a bigint


def none_if_blank(value: Any) -> Any:
    """Take an empty setting for none: compose has no other way to leave it out."""
    return None if value == "" else value


def refuse_blank(value: Any) -> Any:
    """Say of an empty setting that is needed what is said of one that is not there."""
    if value == "":
        raise ValueError("is not set")
    return value


def check_address(value: str | None) -> str | None:
    """Check an http(s) address and drop its last slash; an empty one is none."""
    if value is None or value == "":
        return None
    parts = _split_address(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("must have no user, query or fragment")
    return value.rstrip("/")


def _split_address(value: str) -> SplitResult:
    """Take an address apart; what cannot be is a fault, told without the value's words."""
    try:
        value.encode()  # bytes of the environment that are no UTF-8 are no address either
        parts = urlsplit(value)
        for host in parts.netloc.rpartition("@")[2].split(","):  # PostgreSQL's may be several
            _ = urlsplit(f"//{host}").port
    except ValueError:
        raise ValueError(
            "is not a valid address: the port must be a number, and in user and password"
            " characters such as / ? # [ ] @ must be percent-encoded"
        ) from None
    return parts


def _has_user_name() -> bool:
    """Whether a driver finds a user's name: containers may run as an id without a name."""
    if os.environ.get("PGUSER"):
        return True
    try:
        return bool(getpass.getuser())
    except (KeyError, OSError, ImportError):
        return False


class LogSettings(BaseSettings):
    """How lines of the log are written; also what every part has in common."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    log_format: Literal["console", "json"] = "console"


class DatabaseSettings(LogSettings):
    """How PostgreSQL is reached."""

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
                raise ValueError(
                    "names no user, and the user of this process has no name of its own"
                )
        return value

    @property
    def session_url(self) -> str:
        """The database's address for what needs a session of its own: LISTEN, and migrations."""
        return (self.database_direct_url or self.database_url).get_secret_value()


class BrokerSettings(LogSettings):
    """How the broker is reached, and which keys there are ours."""

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
            raise ValueError("must be 1 to 100 letters, digits and characters out of . _ : / { } -")
        # A colon at the end, so that no prefix and the keys behind it make the keys of another.
        return value if value.endswith(":") else f"{value}:"


class BucketSettings(LogSettings):
    """The bucket's name, for what compares it and asks the store nothing."""

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
    """How the store is reached, by the service and by clients."""

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
        """Where clients post their uploads; the bucket is part of it."""
        return self.s3_public_url or self.store.url

    @cached_property
    def store(self) -> "StoreAddress":
        """Where the service reaches the bucket, found once, from botocore's own rules.

        Raises SettingsError if there is no such address.
        """
        from shared.store_address import find_store

        region = self.s3_region if "s3_region" in self.model_fields_set else None
        return find_store(self.s3_bucket, region, self.s3_endpoint_url)


class WaitSettings(LogSettings):
    """After how long the sweep looks at what an event, or the lack of one, left to it."""

    publish_grace: float = Field(15, ge=0.1, le=300, description="seconds")
    pending_check: float = Field(75, ge=0.1, le=3600, description="seconds")


class QuotaSettings(LogSettings):
    """The quotas of organizations that have none of their own."""

    quota_bytes: int | None = Field(None, ge=0, le=MAX_QUOTA, description="bytes")
    quota_attachments: int | None = Field(None, ge=0, le=MAX_QUOTA)
    quota_uploads_per_day: int | None = Field(None, ge=0, le=MAX_QUOTA)

    _blank_quotas = field_validator(
        "quota_bytes", "quota_attachments", "quota_uploads_per_day", mode="before"
    )(none_if_blank)


class QueueSettings(BrokerSettings, DatabaseSettings):
    """What wakes workers: `attachments retry`."""


class ReplaySettings(WaitSettings, BucketSettings, QueueSettings):
    """What records events: `attachments events replay`."""


class ReconcileSettings(WaitSettings, StoreSettings, QueueSettings):
    """What compares rows and bucket: `attachments reconcile`."""


class UsageSettings(QuotaSettings, DatabaseSettings):
    """What counts usage: `attachments usage` and `attachments organizations limit`."""
