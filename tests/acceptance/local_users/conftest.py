"""Fixtures of the tests of other users on the machine: one local stack, which no test
here changes.
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
            # SeaweedFS opens its admin port last, after S3 answers.
            until(lambda: "admin.port.grpc" in names(shared), 20)
            yield shared


@pytest.fixture(scope="package")
def document(up: Up) -> dict[str, Any]:
    return up.document()
