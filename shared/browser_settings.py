"""The settings for browsers: the lifetimes of links, and the pages that may call the API."""

from functools import cached_property

from pydantic import Field, field_validator

from shared.origins import Origins, normal_origin
from shared.part_settings import LogSettings, Words, none_if_blank, split_setting

MAX_FILES_TTL_S = 10 * 365 * 86400  # limits the digits of the Unix time at which a link ends

MAX_REDIRECT_TTL_S = 302_400
"""Half of seven days. The target of a redirect is signed for up to twice `redirect_ttl`, and S3
accepts at most seven days."""


class BrowserSettings(LogSettings):
    """The lifetimes of links, and the origins of the web pages that may call the API."""

    files_ttl: int | None = Field(None, ge=60, le=MAX_FILES_TTL_S, description="seconds")
    redirect_ttl: int = Field(300, ge=60, le=MAX_REDIRECT_TTL_S, description="seconds")
    redirect_ttl_media: int = Field(3600, ge=60, le=MAX_REDIRECT_TTL_S, description="seconds")
    cors_origins: Words = ()

    _blank_ttl = field_validator("files_ttl", mode="before")(none_if_blank)

    _origin_list = field_validator("cors_origins", mode="before")(split_setting)

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(normal_origin(word) for word in value)

    @cached_property
    def origins(self) -> Origins:
        """The origins whose pages may read the answers of the API."""
        return Origins(self.cors_origins)
