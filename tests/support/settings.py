"""The settings that the service needs to start, and functions that load settings with changes."""

import pytest

from shared.errors import SettingsError
from shared.settings import Settings, load_settings

VALID = {
    "DATABASE_URL": "postgresql://user:password-of-postgres@127.0.0.1/attachments",
    "BROKER_URL": "redis://:password-of-redis@127.0.0.1",
    "S3_BUCKET": "attachments",
    "FILES_SECRET": "sixteen-letters!",
}


def load_with(environment: pytest.MonkeyPatch, **values: str) -> Settings:
    """Load the valid settings with these changes; an empty value removes a setting."""
    for name, value in {**VALID, **values}.items():
        if value:
            environment.setenv(f"ATTACHMENTS_{name}", value)
    return load_settings()


def faults_of(environment: pytest.MonkeyPatch, **values: str) -> list[str]:
    """Load invalid settings, assert that they are refused, and return the lines of the error."""
    with pytest.raises(SettingsError) as raised:
        load_with(environment, **values)
    return str(raised.value).splitlines()
