"""The settings of the malware scanner, ClamAV's clamd."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator

from shared.part_settings import LogSettings, none_if_blank

CLAMD_PORT: Final = 3310
"""The port of clamd in ClamAV's documentation."""

MAX_SCANNED: Final = 2**31 - 1
"""The largest object that may be scanned. ClamAV scans no file of 2 GiB or more (clamd.conf(5),
MaxFileSize)."""

_RULE = "must be tcp://host, tcp://host:port or unix:///path"
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClamdAddress:
    """The address of clamd: either `host` and `port`, or the `path` of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def parse_clamd_url(value: str) -> ClamdAddress:
    """Parse the address of clamd. Raises ValueError with the rule, without the address."""
    try:
        value.encode()  # raises ValueError if the variable's bytes are not valid UTF-8
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError(_RULE) from None
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(_RULE)
    if parts.scheme == "unix":
        path = unquote(parts.path)
        if parts.netloc or len(path) < 2 or "\0" in path:
            raise ValueError(_RULE)
        return ClamdAddress(path=path)
    if parts.scheme != "tcp" or parts.path not in ("", "/"):
        raise ValueError(_RULE)
    if port == 0 or not _HOST.fullmatch(parts.hostname or ""):
        raise ValueError(_RULE)
    return ClamdAddress(host=parts.hostname or "", port=port or CLAMD_PORT)


class ScanSettings(LogSettings):
    """The address of clamd, the limits of scans, and what happens to files that are not scanned."""

    clamd_url: str | None = None
    scan_optional: bool = False
    scan_max_size: int = Field(26_214_400, ge=1024, le=MAX_SCANNED, description="bytes")
    scan_timeout: float = Field(130, ge=0.1, le=3600, description="seconds")
    scan_concurrency: int = Field(8, ge=1, le=256, description="scans at one time")

    _blank_clamd = field_validator("clamd_url", mode="before")(none_if_blank)

    @field_validator("clamd_url")
    @classmethod
    def _clamd(cls, value: str | None) -> str | None:
        if value is not None:
            parse_clamd_url(value)
        return value

    @cached_property
    def clamd(self) -> ClamdAddress | None:
        """The address of clamd, or None if uploads are not scanned."""
        return None if self.clamd_url is None else parse_clamd_url(self.clamd_url)
