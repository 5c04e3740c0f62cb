"""Fixtures of the tests of local users: one local stack, which no test of this folder changes."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.local_ports import names
from tests.support.up import Up, running, until


@pytest.fixture(scope="package")
def up() -> Iterator[Up]:
    """A running stack whose parent directory other users may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with running(Path(folder) / "data", "--decoders", "1") as shared:
            # SeaweedFS's admin port begins to listen last, after S3 answers.
            until(lambda: "admin.port.grpc" in names(shared), 20)
            yield shared


@pytest.fixture(scope="package")
def document(up: Up) -> dict[str, Any]:
    return up.document()
