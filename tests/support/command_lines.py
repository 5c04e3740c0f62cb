"""A check of the error line that a command prints when it fails inside the test's own process."""

import pytest

PASSWORD = "the-password-of-the-database"
TOKEN = "the-token-of-the-client"
Captured = pytest.CaptureFixture[str]


def one_line(captured: Captured) -> str:
    """Assert that the only output is one line of standard error, and return this line."""
    shown = captured.readouterr()
    assert shown.out == "", shown.out
    assert len(shown.err.splitlines()) == 1, shown.err
    assert "Traceback" not in shown.err
    assert PASSWORD not in shown.err
    assert TOKEN not in shown.err
    return shown.err
