"""The version of this release; pyproject.toml has the same, which a test compares."""

VERSION = "0.2.0"
