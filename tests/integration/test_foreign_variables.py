"""Processes with many environment variables of other programs, which must have no effect."""

import json
import os
from pathlib import Path

import pytest

from deploy.commands.environment import read_settings
from deploy.local.services import is_consumed
from shared.store_client import open_storage
from tests.data import images
from tests.support.commands import command
from tests.support.service import Client, Service, until
from tests.support.service_processes import ApiProcess, WorkerProcess
from tests.support.stack import Stack
from tests.support.starting import StartService, StartWorker

NOWHERE = "http://127.0.0.1:9"  # no process listens on port 9
OTHER_BROKER = "redis://127.0.0.1:9/7"

FOREIGN = {
    **dict.fromkeys(
        (
            "CELERY_BROKER_URL",
            "CELERY_BROKER_READ_URL",
            "CELERY_BROKER_WRITE_URL",
            "CELERY_RESULT_BACKEND",
            "BROKER_URL",
            "REDIS_URL",
        ),
        OTHER_BROKER,
    ),
    "CELERY_LOADER": "no.such:Loader",
    "CELERY_CONFIG_MODULE": "no_such_config",
    "CELERY_CUSTOM_WORKER_POOL": "no.such:Pool",
    "CELERY_WORKER_REVOKES_MAX": "many",
    "CELERY_TRACE_APP": "1",
    "C_STRICT_APP": "1",
    "C_FORCE_ROOT": "1",
    "C_BENCH_EVERY": "often",
    "AUTOSCALE_KEEPALIVE": "long",
    "PICKLE_PROTOCOL": "many",
    "KOMBU_LOG_DEBUG": "1",
    "REMAP_SIGTERM": "SIGQUIT",
    "FORKED_BY_MULTIPROCESSING": "1",
    "DJANGO_SETTINGS_MODULE": "no.such.settings",
    "PGHOST": "127.0.0.9",
    "PGPORT": "9",
    "PGUSER": "nobody",
    "PGPASSWORD": "wrong",
    "PGDATABASE": "none",
    "PGSSLMODE": "verify-full",
    "PGSSLROOTCERT": "/nowhere.pem",
    "PGSSLNEGOTIATION": "direct",
    "PGTARGETSESSIONATTRS": "standby",
    "PGSERVICE": "none",
    "PGPASSFILE": "/nowhere",
    "PGOPTIONS": "-c search_path=none",
    "PGSSLMINPROTOCOLVERSION": "x",
    **dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), NOWHERE),
    "NO_PROXY": "elsewhere.example",
    **dict.fromkeys(("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_SQS"), NOWHERE),
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_DEFAULT_REGION": "us-west-2",
    "REQUESTS_CA_BUNDLE": "/nowhere.pem",
    "SSLKEYLOGFILE": "/nowhere/keys",
    "BOTO_CONFIG": "/nowhere",
    "PYTHONASYNCIODEBUG": "1",
    "TZ": "Pacific/Kiritimati",
    "MAGIC": "/nowhere",
    "PORT": "9",
    "DATABASE_URL": "postgresql://127.0.0.9/none",
    "DEBUG": "1",
}


async def test_an_upload_goes_the_same_way(
    stack: Stack, start_service: StartService, start_worker: StartWorker
) -> None:
    # No sweep is due during the test. So the upload is processed only if both processes use the
    # broker of the settings.
    service = await start_service(publish_grace="300", pending_check="3600", sweep_interval="300")
    api = await ApiProcess({**service.environment, **FOREIGN}).start()
    worker = WorkerProcess({**service.environment, **FOREIGN})
    client = Client(
        session=service.client.session,
        base_url=api.url,
        organization_id=service.client.organization_id,
        token=service.client.token,
    )
    stack.relay.target = api.url
    try:
        await worker.start()
        assert await until(lambda: is_consumed(stack.valkey.url))
        created = await client.create()
        status, answer = await client.post_file(created, images.encode(images.quadrants(), "PNG"))
        assert status == 201, answer
        resource = await client.settled(created["data"]["id"])
        log = worker.log()
    finally:
        for process in (api, worker):
            process.close()

    assert created["meta"]["upload_url"] == service.settings.upload_url
    assert (
        f"/{service.settings.s3_region}/s3/"
        in (created["data"]["attributes"]["aws_policy"]["x-amz-credential"])
    )
    assert resource["meta"]["state"] == "ready", log
    assert resource["attributes"]["resized"] is True
    assert '"level":"warning"' not in log, log


@pytest.mark.parametrize("arguments", [("migrate",), ("usage", "--json"), ("reconcile", "--json")])
async def test_a_command_does_the_same(service: Service, arguments: tuple[str, ...]) -> None:
    plain = await command(service, *arguments)
    service.environment.update(FOREIGN)
    crowded = await command(service, *arguments)

    assert (crowded.status, crowded.err) == (plain.status, plain.err)


async def test_the_local_stack_is_found_with_keys_of_another_store_in_the_shell(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "ATTACHMENTS_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "environment.json").write_text(json.dumps(service.environment))
    (tmp_path / "environment.json").chmod(0o600)
    monkeypatch.setenv("AWS_PROFILE", "of-another-store")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-another-store")
    before = dict(os.environ)
    try:
        async with open_storage(read_settings(tmp_path)) as storage:
            credentials = await storage.credentials()
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]

    assert credentials.access_key == service.environment["AWS_ACCESS_KEY_ID"]
    assert credentials.token is None
