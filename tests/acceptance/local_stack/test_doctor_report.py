"""`attachments doctor` reports about a service or a local stack, as JSON and as a table."""

import json

from shared import probes
from tests.support.doctor import NAMES, environment, read
from tests.support.doctor_runs import leftovers, run_doctor
from tests.support.local import LocalStack
from tests.support.service import Service

ORIGIN = "https://app.example"


async def test_a_healthy_service_is_found_healthy_and_nothing_is_left(
    working: Service,
) -> None:
    variables = environment(working)
    seen = len(working.stack.relay.seen)
    status, printed = await run_doctor(variables, "--json", "--origin", ORIGIN)
    examined = read(json.loads(printed), variables)
    assert status == 0
    assert examined.named("ok") == NAMES
    assert "CORS_ORIGINS does not let them call the API" in examined["cors"]["found"]
    assert "webhook as seaweedfs" in examined["event"]["found"]
    assert examined["event"]["found"].endswith("once")
    assert examined["event"]["seconds"] >= 0
    assert "320×240" in examined["thumbnail"]["found"]
    assert examined["thumbnail"]["seconds"] >= 0
    assert examined["links"]["found"].startswith("url and thumb open at ")
    assert any(probes.NAME in event["key"] for event in working.stack.relay.seen[seen:])
    assert await leftovers(working) == []


async def test_people_get_a_table_that_ends_in_the_sum(working: Service) -> None:
    status, printed = await run_doctor(environment(working))
    assert status == 0
    assert all(f"│ {name} " in printed for name in NAMES)
    assert printed.splitlines()[-1] == f"healthy: {len(NAMES)} ok"


async def test_a_fault_is_shown_in_the_table_with_its_remedy(
    working: Service, closed_port: int
) -> None:
    status, printed = await run_doctor(
        environment(working, broker_url=f"redis://:a-password@127.0.0.1:{closed_port}/0")
    )
    assert status == 1
    assert "a-password" not in printed
    assert "→ start it, and check that ATTACHMENTS_BROKER_URL" in printed
    assert "needs broker, which failed" in printed
    assert printed.splitlines()[-1].startswith("not healthy: ")


def test_a_local_stack_is_examined_by_its_data_directory(local: LocalStack) -> None:
    ended = local.run("doctor", "--json", "--origin", "http://localhost:5173")
    assert ended.returncode == 0, ended.stdout
    document = json.loads(ended.stdout)
    assert document["healthy"] is True
    (cors,) = [each["found"] for each in document["checks"] if each["name"] == "cors"]
    assert cors.endswith("may upload, and see what comes of it")
    assert ended.stderr == ""


async def test_all_faults_of_the_settings_are_reported_together(working: Service) -> None:
    variables = environment(working, max_size="a-secret-maybe", s3_region="-", time_zone="Mars")
    status, printed = await run_doctor(variables, "--json")
    examined = read(json.loads(printed), variables)
    assert status == 1
    assert examined.named("failed") == ["settings"]
    assert examined.named("skipped") == NAMES[1:]
    found = examined["settings"]["found"]
    assert [line.partition(":")[0] for line in found.splitlines()] == [
        "ATTACHMENTS_S3_REGION",
        "ATTACHMENTS_MAX_SIZE",
        "ATTACHMENTS_TIME_ZONE",
    ]
    assert "a-secret-maybe" not in found
