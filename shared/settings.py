"""Settings: environment variables `ATTACHMENTS_*`, read and checked once, at start."""

import getpass
import os
import re
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.database_address import parse_address
from shared.errors import SettingsError
from shared.fences import WHOLE_BUCKET, Fences, is_bucket_name, parse_fences
from shared.hosts import is_loopback, normal_host
from shared.processors import MAX_DECODERS, default_decoders
from shared.proxies import Network, Proxies, parse_network
from shared.reserved import Reserved

if TYPE_CHECKING:
    from shared.store_address import StoreAddress

PREFIX = "ATTACHMENTS_"
MAX_POST_OBJECT_BYTES = 5 * 1024**3  # S3 takes no larger object in one request

# botocore's own rule of a region.
REGION = re.compile(r"(?![0-9]+\Z)(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]+:[A-Za-z0-9_.-]{1,256}")

# Nothing that a shell, or an ACL's pattern of keys, reads in another way.
QUEUE_PREFIX = re.compile(r"[A-Za-z0-9._:/{}-]{1,100}", re.ASCII)

MAX_FILES_TTL_S = 10 * 365 * 86400  # the end of a link must stay a Unix time of few digits

MAX_REDIRECT_TTL_S = 302_400
"""A target opens for up to twice as long, and S3 signs for at most seven days."""

MIN_SECRET = 16

MAX_QUOTA = 2**62  # a sum of two must stay a bigint

MORE_FORMATS = frozenset({"avif", "tiff", "heic"})

Words = Annotated[tuple[str, ...], NoDecode]
"""A comma-separated list."""


def split_words(value: Any) -> Any:
    """Split a comma-separated setting; white space and empty words are dropped."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


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


class Settings(BaseSettings):
    """All settings of the service; the README's table tells what each is for."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    database_url: SecretStr
    database_direct_url: SecretStr | None = None
    broker_url: SecretStr
    queue_prefix: str | None = None
    s3_bucket: str
    s3_region: str = "us-east-1"
    s3_endpoint_url: str | None = None
    s3_public_url: str | None = None
    files_url: str | None = None
    files_public: bool = False
    files_secret: SecretStr | None = Field(None, validate_default=True)
    files_secret_previous: SecretStr | None = None
    files_query_token: bool = True
    files_ttl: int | None = Field(None, ge=60, le=MAX_FILES_TTL_S, description="seconds")
    redirect_ttl: int = Field(300, ge=60, le=MAX_REDIRECT_TTL_S, description="seconds")
    redirect_ttl_media: int = Field(3600, ge=60, le=MAX_REDIRECT_TTL_S, description="seconds")
    events_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    sns_topics: Words = ()
    sns_signature_versions: Words = ("2",)
    sqs_queue_url: str | None = None
    temp_url_buckets: Words = ()
    reserved: Words = ()

    max_size: int = Field(314_572_800, ge=1, le=MAX_POST_OBJECT_BYTES, description="bytes")
    quota_bytes: int | None = Field(None, ge=0, le=MAX_QUOTA, description="bytes")
    quota_attachments: int | None = Field(None, ge=0, le=MAX_QUOTA)
    quota_uploads_per_day: int | None = Field(None, ge=0, le=MAX_QUOTA)
    policy_ttl: int = Field(3600, ge=60, le=7 * 86400, description="seconds")
    retention: int = Field(7 * 86400, ge=0, description="seconds")
    time_zone: str = "UTC"

    api_host: str = "127.0.0.1"
    api_port: int = Field(8000, ge=0, le=65535)
    api_url: str | None = None
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = Field(None, ge=0, le=65535)
    hosts: Words = ()
    trusted_proxies: Words = ()
    forwarded_headers: Literal["any", "x-forwarded", "forwarded"] = "any"
    keep_alive: float = Field(75, ge=1, le=3600, description="seconds")
    drain: float = Field(0, ge=0, le=600, description="seconds")
    rate_limit: int = Field(1000, ge=0, description="requests per second and organization")
    database_pool: int = Field(10, ge=2, le=100, description="connections per process")

    concurrency: int = Field(48, ge=2, le=512, description="uploads in flight per worker")
    decoders: int = Field(default_factory=default_decoders, ge=1, le=MAX_DECODERS)
    decoder_timeout: float = Field(10, gt=0, le=120, description="seconds")
    decoder_seal: Literal["preferred", "required"] = "preferred"
    decoder_isolation: Literal["organization", "none"] = "organization"
    max_pixels: int = Field(50_000_000, ge=1, le=200_000_000)
    more_formats: Words = ()
    attempts: int = Field(5, ge=1, le=20)
    lease: float = Field(30, ge=1, le=3600, description="seconds")
    sweep_interval: float = Field(10, ge=0.1, le=300, description="seconds")
    publish_grace: float = Field(15, ge=0.1, le=300, description="seconds")
    pending_check: float = Field(75, ge=0.1, le=3600, description="seconds")

    dead_letters: int = Field(1000, ge=1, le=100_000, description="kept at most")
    dead_letter_age: int = Field(30 * 86400, ge=60, description="seconds")

    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator(
        "events_tokens", "sns_topics", "sns_signature_versions", "temp_url_buckets", "more_formats",
        "reserved", "hosts", "trusted_proxies",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _split(cls, value: Any) -> Any:
        words = split_words(value)
        if value and not words:
            raise ValueError("has commas, but no word between them")
        return words

    @field_validator(
        "database_direct_url",
        "files_ttl",
        "queue_prefix",
        "metrics_port",
        "quota_bytes",
        "quota_attachments",
        "quota_uploads_per_day",
        mode="before",
    )
    @classmethod
    def _blank(cls, value: Any) -> Any:
        return None if value == "" else value  # compose has no other way to leave it out

    @field_validator("database_url", "broker_url", "s3_bucket", mode="before")
    @classmethod
    def _needed(cls, value: Any) -> Any:
        if value == "":  # as compose hands on what is not set
            raise ValueError("is not set")
        return value

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

    @field_validator("s3_bucket")
    @classmethod
    def _bucket(cls, value: str) -> str:
        if not is_bucket_name(value):
            raise ValueError(
                "must be the name of a bucket: 3 to 63 lower-case letters, digits, dots and"
                " hyphens, a letter or digit at both ends, no two dots in a row, no IP address"
            )
        return value

    @field_validator("s3_region")
    @classmethod
    def _region(cls, value: str) -> str:
        if not REGION.fullmatch(value):
            raise ValueError(
                "must be a region such as eu-west-1: up to 63 letters, digits and hyphens,"
                " no hyphen at either end"
            )
        return value

    @field_validator("s3_endpoint_url", "s3_public_url", "files_url", "api_url", "sqs_queue_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None or value == "":
            return None
        parts = _split_address(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http:// or https:// address")
        if parts.query or parts.fragment or parts.username:
            raise ValueError("must have no user, query or fragment")
        return value.rstrip("/")

    @field_validator("events_tokens")
    @classmethod
    def _tokens(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(token.get_secret_value()) < MIN_SECRET for token in value):
            raise ValueError("each token must have at least 16 characters")
        if len(value) > 2:
            raise ValueError("at most two tokens may be live")
        return value

    @field_validator("hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(normal_host(host) for host in value)
        except ValueError:
            rule = "must be hosts, each with its port if clients send one, such as api.example"
            raise ValueError(f"{rule} or localhost:8000: no scheme, path or wildcard") from None

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            parse_network(word)
        return value

    @field_validator("sns_topics")
    @classmethod
    def _topics(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(TOPIC.fullmatch(topic) for topic in value):
            raise ValueError("must be ARNs of topics, such as arn:aws:sns:eu-west-1:123:uploads")
        return value

    @field_validator("sns_signature_versions")
    @classmethod
    def _versions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not set(value) <= {"1", "2"}:
            raise ValueError("must be 2, or 1,2 for topics that still sign by version 1")
        return value or ("2",)

    @field_validator("temp_url_buckets")
    @classmethod
    def _fences(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        parse_fences(value, own_bucket=info.data.get("s3_bucket"))
        return value

    @field_validator("more_formats")
    @classmethod
    def _formats(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not set(value) <= MORE_FORMATS:
            raise ValueError("must be words out of " + ", ".join(sorted(MORE_FORMATS)))
        return value

    @field_validator("reserved")
    @classmethod
    def _reserved(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Reserved.changed_by(value)
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("must be a time zone such as Europe/Berlin") from None
        return value

    # Rules over two settings are rules of the later one, not of the whole: those over the whole
    # would not be looked at, and so not be reported, while any one setting is at fault.
    @field_validator("files_public")
    @classmethod
    def _public(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("files_url", "") is None:
            raise ValueError(f"is true, which needs {PREFIX}FILES_URL")
        return value

    @field_validator("files_secret")
    @classmethod
    def _secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        secret = value.get_secret_value() if value else ""
        if info.data.get("files_public") is False and len(secret) < MIN_SECRET:
            rule = "must have at least 16 characters" if secret else "is needed"
            raise ValueError(f"{rule} unless {PREFIX}FILES_PUBLIC is true")
        return value

    @field_validator("files_secret_previous")
    @classmethod
    def _previous_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        if len(value.get_secret_value()) < MIN_SECRET:
            raise ValueError("must have at least 16 characters")
        return value

    @property
    def session_url(self) -> str:
        """The database's address for what needs a session of its own: LISTEN, and migrations."""
        return (self.database_direct_url or self.database_url).get_secret_value()

    @cached_property
    def listens_on_loopback(self) -> bool:
        """Whether only processes of its own machine reach the API."""
        return is_loopback(self.api_host)

    @cached_property
    def proxies(self) -> Proxies:
        """The proxies that are believed, and the headers that they set."""
        networks: list[Network] = [parse_network(word) for word in self.trusted_proxies]
        return Proxies(networks, headers=self.forwarded_headers)

    @cached_property
    def reserved_files(self) -> Reserved:
        """The types and names of files that are not accepted."""
        return Reserved.changed_by(self.reserved)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone that times are shown in."""
        return ZoneInfo(self.time_zone)

    @cached_property
    def fences(self) -> Fences:
        """The buckets, and the prefixes in them, that `temp_url` may name.

        The service's own bucket is always one of them; without a word of its own, as a whole.
        """
        named = parse_fences(self.temp_url_buckets, own_bucket=self.s3_bucket)
        return {self.s3_bucket: WHOLE_BUCKET, **named}

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


def load_settings(**given: str) -> Settings:
    """Read the settings from the environment; those given, by lower-case name, win over it.

    Raises SettingsError with every fault at once, a line each, that names the variable and the
    rule but never shows a value: it may be a secret.
    """
    try:
        return Settings(**given)  # type: ignore[arg-type]  # read as the environment's words are
    except ValidationError as error:
        faults = []
        for fault in error.errors(include_url=False, include_input=False, include_context=False):
            text = fault["msg"].removeprefix("Value error, ")
            name = str(fault["loc"][0])
            if fault["type"] == "missing":
                text = "is not set"
            elif fault["type"].startswith("bool_"):
                text = "must be true or false"
            faults.append(f"{PREFIX}{name.upper()}: {text[0].lower()}{text[1:]}")
        raise SettingsError("\n".join(faults)) from None
