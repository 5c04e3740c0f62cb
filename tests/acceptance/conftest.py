"""Fixtures that several acceptance tests use."""

import pytest

from tests.support import faults


@pytest.fixture
def closed_port() -> int:
    """Return a port on which no process listens."""
    return faults.closed_port()
