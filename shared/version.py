"""The version of this release; a test compares it with pyproject.toml."""

VERSION = "0.2.0"
