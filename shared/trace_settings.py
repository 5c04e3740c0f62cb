"""The settings of traces."""

import re
from urllib.parse import unquote

from pydantic import Field, SecretStr, field_validator

from shared.part_settings import LogSettings, check_address

PATH = "/v1/traces"
"""The path that is added to the collector's address (OTLP specification, "OTLP/HTTP Request")."""

# RFC 9110, section 5: a name is a token; a value is visible ASCII with spaces inside.
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?", re.ASCII)


class TraceSettings(LogSettings):
    """The collector's address and headers, and the fraction of traces that is recorded."""

    otlp_url: str | None = None
    otlp_headers: SecretStr | None = None
    traces_ratio: float = Field(1, ge=0, le=1, description="share of new traces")

    _collector = field_validator("otlp_url")(check_address)

    @field_validator("otlp_headers")
    @classmethod
    def _headers(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        read_headers(value.get_secret_value())
        return value

    @property
    def traces_url(self) -> str:
        """The address to which spans are posted. `otlp_url` must be set."""
        assert self.otlp_url is not None
        return self.otlp_url if self.otlp_url.endswith(PATH) else f"{self.otlp_url}{PATH}"

    @property
    def collector_headers(self) -> dict[str, str]:
        """The headers that are sent to the collector with each export."""
        return (
            {} if self.otlp_headers is None else read_headers(self.otlp_headers.get_secret_value())
        )


def read_headers(text: str) -> dict[str, str]:
    """Read headers in the form `name=value,name=value`. Values may be percent-encoded.

    This is the format of OTEL_EXPORTER_OTLP_HEADERS. Raises ValueError if the text has another
    form; the message does not contain the text, which may hold secrets.
    """
    found = {}
    for pair in text.split(","):
        name, sign, value = pair.partition("=")
        name, value = name.strip(), unquote(value.strip())
        if not sign or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError("must be headers as name=value, separated by commas")
        found[name] = value
    return found
