"""`deploy/compose.yaml`, as far as it can be checked without containers."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package that we do not lock

from deploy.embedded.seaweedfs import find_binary

COMPOSE = Path(__file__).parents[2] / "deploy/compose.yaml"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return document


def test_only_api_and_worker_share_a_network_with_the_store(compose: dict[str, Any]) -> None:
    services = compose["services"]
    networks = {
        name: set(service.get("networks", ["default"]))
        for name, service in services.items()
        if "network_mode" not in service
    }
    store = networks.pop("seaweedfs")
    assert {name for name, each in networks.items() if each & store} == {"api", "worker"}
    assert services["seaweedfs-keys"]["network_mode"] == "none"
    assert [port.rpartition(":")[2] for port in services["seaweedfs"]["ports"]] == ["8333"]


def test_only_the_store_sees_its_keys(compose: dict[str, Any]) -> None:
    services = compose["services"]
    seeing = {
        name: volume
        for name, service in services.items()
        for volume in service.get("volumes", [])
        if volume.startswith("seaweedfs-keys:")
    }
    assert seeing == {
        "seaweedfs-keys": "seaweedfs-keys:/keys",
        "seaweedfs": "seaweedfs-keys:/keys:ro",
    }
    assert services["seaweedfs"]["working_dir"] == "/keys"


def test_the_keys_are_made_where_any_user_of_the_container_reads_them(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    (program,) = compose["services"]["seaweedfs-keys"]["command"]
    program = program.replace("/keys", str(tmp_path))
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program], check=True)
    paths = sorted(tmp_path.iterdir())
    assert [path.name for path in paths] == ["security.toml", "tls.pem"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o644}
    assert str(tmp_path / "tls.pem") in paths[0].read_text()


def test_the_store_knows_every_option_that_it_is_given(compose: dict[str, Any]) -> None:
    command, *options = compose["services"]["seaweedfs"]["command"]
    help_text = subprocess.run(
        [find_binary(), command, "-h"], capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    known = {line.split()[0] for line in help_text.stderr.splitlines() if line.startswith("  -")}
    assert {option.split("=")[0] for option in options} <= known
