"""Fixtures for tests in which other users of the machine try to access a local stack.

All tests of this folder share one local stack, and no test changes it.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.local_ports import names
from tests.support.up import Up, running, until


@pytest.fixture(scope="package")
def up() -> Iterator[Up]:
    """Run a local stack in a folder that other users may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with running(Path(folder) / "data", "--decoders", "1") as shared:
            # SeaweedFS opens its admin port last, when S3 already answers. So wait for this port.
            until(lambda: "admin.port.grpc" in names(shared), 20)
            yield shared


@pytest.fixture(scope="package")
def document(up: Up) -> dict[str, Any]:
    return up.document()
