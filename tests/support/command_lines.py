"""Reports of commands that fail in the process of the test."""

import pytest

PASSWORD = "the-password-of-the-database"
TOKEN = "the-token-of-the-client"
Captured = pytest.CaptureFixture[str]


def one_line(captured: Captured) -> str:
    """Return the standard error, after asserting that it is the only output and one line."""
    shown = captured.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1, shown.err
    assert "Traceback" not in shown.err
    assert PASSWORD not in shown.err
    assert TOKEN not in shown.err
    return shown.err
