"""The settings: environment variables `ATTACHMENTS_*`, read and checked once, at the start."""

import os
import re
from functools import cached_property
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

from shared.browser_settings import BrowserSettings
from shared.errors import SettingsError
from shared.fences import WHOLE_BUCKET, Fences, parse_fences
from shared.hosts import is_loopback, normal_host
from shared.part_settings import (
    PREFIX,
    QueueSettings,
    QuotaSettings,
    StoreSettings,
    WaitSettings,
    Words,
    check_address,
    none_if_blank,
    split_setting,
    split_words,
)
from shared.processors import MAX_DECODERS, default_decoders
from shared.proxies import ForwardedHeaders, Network, Proxies, parse_network
from shared.reserved import Reserved
from shared.scan_settings import ScanSettings
from shared.style_settings import StyleSettings
from shared.trace_settings import TraceSettings
from shared.webhook_settings import WebhookSettings

__all__ = ["PREFIX", "Settings", "load_part", "load_settings", "retired_settings", "split_words"]

S = TypeVar("S", bound=BaseSettings)

Seal = Literal["preferred", "required"]
"""With `required`, a worker does not start if its decoders cannot be sealed."""

MAX_POST_OBJECT_BYTES = 5 * 1024**3  # the largest object that S3 accepts in one request

TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]+:[A-Za-z0-9_.-]{1,256}")

MIN_SECRET = 16

MORE_FORMATS = frozenset({"avif", "tiff", "heic", "jxl", "video"})


class Settings(
    TraceSettings,
    ScanSettings,
    StyleSettings,
    WaitSettings,
    QuotaSettings,
    BrowserSettings,
    WebhookSettings,
    StoreSettings,
    QueueSettings,
):
    """All settings of the service. `deploy/docs/settings.md` explains each of them.

    Faults are reported in the order of the fields. The fields of the last base class come first.
    """

    files_public: bool = False
    files_secret: SecretStr | None = Field(None, validate_default=True)
    files_secret_previous: SecretStr | None = None
    files_query_token: bool = True
    events_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    sns_topics: Words = ()
    sns_signature_versions: Words = ("2",)
    sqs_queue_url: str | None = None
    temp_url_buckets: Words = ()
    reserved: Words = ()

    max_size: int = Field(314_572_800, ge=1, le=MAX_POST_OBJECT_BYTES, description="bytes")
    policy_ttl: int = Field(3600, ge=60, le=7 * 86400, description="seconds")
    retention: int = Field(7 * 86400, ge=0, description="seconds")
    time_zone: str = "UTC"

    api_host: str = "127.0.0.1"
    api_port: int = Field(8000, ge=0, le=65535)
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = Field(None, ge=0, le=65535)
    hosts: Words = ()
    trusted_proxies: Words = ()
    forwarded_headers: ForwardedHeaders = "any"
    keep_alive: float = Field(75, ge=1, le=3600, description="seconds")
    drain: float = Field(0, ge=0, le=600, description="seconds")
    rate_limit: int = Field(1000, ge=0, description="requests per second and organization")

    concurrency: int = Field(48, ge=3, le=512, description="uploads in flight per worker")
    buffer_bytes: int = Field(2**28, ge=2**23, le=2**40, description="of large files, on disk")
    decoders: int = Field(default_factory=default_decoders, ge=1, le=MAX_DECODERS)
    decoder_timeout: float = Field(10, gt=0, le=120, description="seconds")
    decoder_seal: Seal = "preferred"
    decoder_isolation: Literal["organization", "none"] = "organization"
    more_formats: Words = ()
    attempts: int = Field(5, ge=1, le=20)
    lease: float = Field(30, ge=1, le=3600, description="seconds")
    sweep_interval: float = Field(10, ge=0.1, le=300, description="seconds")

    dead_letters: int = Field(1000, ge=1, le=100_000, description="kept at most")
    dead_letter_age: int = Field(30 * 86400, ge=60, description="seconds")

    log_level: Literal["debug", "info", "warning", "error"] = "info"

    _lists = field_validator(
        "events_tokens",
        "sns_topics",
        "sns_signature_versions",
        "temp_url_buckets",
        "more_formats",
        "reserved",
        "hosts",
        "trusted_proxies",
        mode="before",
    )(split_setting)
    _blank_number = field_validator("metrics_port", mode="before")(none_if_blank)
    _addresses = field_validator("sqs_queue_url")(check_address)

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
            raise ValueError("must be one or more of " + ", ".join(sorted(MORE_FORMATS)))
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

    # A rule about two settings is checked in a validator of the later field. If any field is
    # invalid, pydantic skips the validators of the model, so these would not report the fault.
    @field_validator("files_public")
    @classmethod
    def _public(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("files_url", "") is None:
            raise ValueError(f"is true, which requires {PREFIX}FILES_URL")
        if value and info.data.get("clamd_url") is not None:
            raise ValueError(f"is true, so no file would wait for the scan by {PREFIX}CLAMD_URL")
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

    @cached_property
    def listens_on_loopback(self) -> bool:
        """True if only processes on this machine can reach the API."""
        return is_loopback(self.api_host)

    @cached_property
    def proxies(self) -> Proxies:
        """The trusted proxies, and the kind of headers that they set."""
        networks: list[Network] = [parse_network(word) for word in self.trusted_proxies]
        return Proxies(networks, headers=self.forwarded_headers)

    @cached_property
    def reserved_files(self) -> Reserved:
        """The types and names of files that are not accepted."""
        return Reserved.changed_by(self.reserved)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone of the times in the API's answers."""
        return ZoneInfo(self.time_zone)

    @cached_property
    def fences(self) -> Fences:
        """The buckets from which `temp_url` may copy, and the allowed prefixes in each bucket.

        The service's own bucket is always included: with the prefixes that the setting lists for
        it, or else as a whole.
        """
        named = parse_fences(self.temp_url_buckets, own_bucket=self.s3_bucket)
        return {self.s3_bucket: WHOLE_BUCKET, **named}


RETIRED = {"MAX_PIXELS": "files are limited by what they would cost to decode"}
"""Settings of earlier releases that are ignored now, with the reason."""


def retired_settings() -> list[str]:
    """Return a warning for each setting in the environment that has no effect any more."""
    return [
        f"{PREFIX}{name} is ignored: {why}"
        for name, why in RETIRED.items()
        if os.environ.get(f"{PREFIX}{name}")
    ]


def load_settings(**given: str) -> Settings:
    """Read the settings from the environment. Values in `given` take precedence.

    Raises SettingsError with all faults, one in each line. A line names the variable and the rule.
    It does not contain the value, which may be a secret.
    """
    return load_part(Settings, **given)


def load_part(part: type[S], **given: str) -> S:
    """Read the settings of one group as `load_settings` does. Ignore faults of other settings.

    Raises SettingsError as `load_settings` does.
    """
    try:
        return part(**given)  # type: ignore[arg-type]  # converted like values of the environment
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
