"""Tests of `deploy/compose.yaml` that need no containers."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # the locks include no stubs for this package

from deploy.embedded.seaweedfs import find_binary
from shared.log_writer import FLUSH_S
from shared.settings import PREFIX, Settings
from worker.app import FINAL_REPLIES_S
from worker.runtime import DRAIN_S, GIVE_BACK_S

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


@pytest.mark.slow
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
    # SeaweedFS resolves this path from its working directory, which is the folder of the keys.
    assert 'cert = "tls.pem"' in paths[0].read_text()


@pytest.mark.slow
def test_the_store_knows_every_option_that_it_is_given(compose: dict[str, Any]) -> None:
    command, *options = compose["services"]["seaweedfs"]["command"]
    help_text = subprocess.run(
        [find_binary(), command, "-h"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    known = {line.split()[0] for line in help_text.stderr.splitlines() if line.startswith("  -")}
    assert {option.split("=")[0] for option in options} <= known


def test_a_process_is_given_the_time_to_stop_that_operations_name(
    compose: dict[str, Any],
) -> None:
    operations = (COMPOSE.parent / "docs/operations.md").read_text()
    containers = (COMPOSE.parent / "docs/containers.md").read_text()
    (seconds,) = re.findall(r"Allow every process (\d+) s before a kill", operations)
    assert re.findall(r"(?:--stop-timeout|-t) (\d+)", containers) == [seconds] * 2
    assert f"`stop_grace_period: {seconds}s`" in containers
    for name in ("api", "worker", "consume"):
        assert compose["services"][name]["stop_grace_period"] == f"{seconds}s"
    longest_s = DRAIN_S + GIVE_BACK_S + FINAL_REPLIES_S + FLUSH_S
    assert longest_s < int(seconds)
    assert f"{longest_s:.0f} s if database or broker do not answer" in containers


def test_the_arithmetic_of_connections_is_of_the_default_pool() -> None:
    text = (COMPOSE.parent / "docs/postgresql.md").read_text()
    pool = Settings.model_fields["database_pool"].default
    apis, listening, workers, consumers, each, rest, total = map(
        int, re.findall(r"(\d+) × (\d+) \+ \((\d+) \+ (\d+)\) × (\d+) \+ (\d+) = (\d+)", text)[0]
    )
    assert (listening, each) == (pool + 1, pool)
    assert apis * listening + (workers + consumers) * each + rest == total
    operations = (COMPOSE.parent / "docs/operations.md").read_text()
    assert f"up to {pool + 1} connections, a worker or consumer up to {pool}." in operations


FIXED = {"api_host", "api_port"}
"""Settings that compose does not pass to the image, because the image itself sets them.

The image listens on every address; `API_LISTEN` chooses the address that compose publishes.
"""


def test_compose_passes_every_setting_and_no_other(compose: dict[str, Any]) -> None:
    given = set(compose["x-process"]["environment"]) - {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    }
    assert given == {f"{PREFIX}{name.upper()}" for name in set(Settings.model_fields) - FIXED}


@pytest.mark.parametrize("name", ["api", "worker", "migrate"])
def test_every_process_has_all_settings(compose: dict[str, Any], name: str) -> None:
    assert compose["services"][name]["environment"] == compose["x-process"]["environment"]


def test_the_consumer_differs_only_by_the_keys_of_its_queue(compose: dict[str, Any]) -> None:
    usual, own = (compose["services"][name]["environment"] for name in ("worker", "consume"))
    assert own.keys() == usual.keys()
    changed = {name for name, value in own.items() if value != usual[name]}
    assert changed == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert compose["services"]["consume"]["profiles"] == ["sqs"]


def test_variables_of_the_image_are_never_passed_without_a_value(compose: dict[str, Any]) -> None:
    # A variable that compose passes without a value would remove the image's own value.
    image = (COMPOSE.parent / "Dockerfile").read_text()
    fixed = {f"{PREFIX}{name.upper()}" for name in FIXED}
    for name in set(re.findall(r"(ATTACHMENTS_[A-Z_]+)=", image)) - fixed:
        assert compose["x-process"]["environment"][name], name


def test_the_example_names_every_variable_of_compose() -> None:
    named = set(re.findall(r"\$\{((?!ATTACHMENTS_)[A-Z0-9_]+)", COMPOSE.read_text()))
    example = (COMPOSE.parent / "compose.env.example").read_text()
    assert named == set(re.findall(r"^([A-Z0-9_]+)=", example, re.MULTILINE))


def test_every_setting_has_a_row_with_its_default() -> None:
    table = (COMPOSE.parent / "docs/settings.md").read_text()
    rows: dict[str, str] = {}
    for names, default in re.findall(
        r"^\| (`ATTACHMENTS_[^|]+) \| ([^|]+) \|", table, re.MULTILINE
    ):
        rows |= dict.fromkeys(re.findall(r"`ATTACHMENTS_([A-Z0-9_]+)`", names), default)
    assert set(rows) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, int | float | str) and not isinstance(field.default, bool):
            words = re.findall(r"`([^`]+)`", rows[name.upper()])
            assert str(field.default) in words, name
