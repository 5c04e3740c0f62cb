"""`attachments doctor` reports what is wrong with a store, its bucket and its addresses."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiobotocore.session import get_session

from deploy.doctor import checks
from deploy.embedded.seaweedfs import EmbeddedSeaweedFS
from tests.support.doctor import environment, examine
from tests.support.doctor_runs import leftovers
from tests.support.proxy import running_proxy
from tests.support.service import Service

ORIGIN = "https://app.example"


@pytest.mark.parametrize(
    ("changes", "found", "mend"),
    [
        pytest.param(
            {"ATTACHMENTS_S3_BUCKET": "nowhere"},
            "no such bucket",
            "ATTACHMENTS_S3_BUCKET",
            id="no bucket",
        ),
        pytest.param(
            {"AWS_ACCESS_KEY_ID": "nobody"},
            "does not know the access key",
            "AWS_ACCESS_KEY_ID",
            id="unknown key",
        ),
        pytest.param(
            {"AWS_SECRET_ACCESS_KEY": "another secret"},
            "secret key does not belong",
            "AWS_SECRET_ACCESS_KEY",
            id="wrong secret",
        ),
        pytest.param(
            {
                "AWS_ACCESS_KEY_ID": "",
                "AWS_SECRET_ACCESS_KEY": "",
                "AWS_CONFIG_FILE": "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            },
            "no AWS credentials",
            "AWS_ACCESS_KEY_ID",
            id="no credentials",
        ),
        pytest.param(
            {"AWS_PROFILE": "nobody"},
            "nobody",
            "profile",
            id="unknown profile",
        ),
    ],
)
async def test_a_refusal_of_the_bucket_is_named(
    working: Service, changes: dict[str, str], found: str, mend: str
) -> None:
    variables = {**environment(working), **changes}
    examined = await examine({name: value for name, value in variables.items() if value})
    assert examined.named("failed") == ["store"]
    assert found in examined["store"]["found"]
    assert mend in examined["store"]["mend"]
    assert examined["upload"]["found"] == "needs store, which failed"


async def test_a_store_that_does_not_answer_is_named_with_its_address(
    working: Service, closed_port: int
) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    examined = await examine(environment(working, s3_endpoint_url=url))
    assert examined.named("failed") == ["store"]
    assert url in examined["store"]["found"]


class SharedStore(EmbeddedSeaweedFS):
    """A store with a second access key that may write but not read."""

    def _identities(self) -> str:
        document = json.loads(super()._identities())
        document["identities"].append(
            {
                "name": "writer",
                "credentials": [{"accessKey": "writer", "secretKey": "writer-secret"}],
                "actions": ["Write"],
            }
        )
        return json.dumps(document)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[SharedStore]:
    """Start a store that only this test uses and may break. It sends no events."""
    server = SharedStore(directory=tmp_path / "seaweedfs")
    await server.start()
    yield server
    await server.stop()


def in_store(store: SharedStore) -> dict[str, str]:
    return {
        "ATTACHMENTS_S3_BUCKET": store.bucket,
        "ATTACHMENTS_S3_ENDPOINT_URL": store.url,
        "AWS_ACCESS_KEY_ID": store.access_key_id,
        "AWS_SECRET_ACCESS_KEY": store.secret_access_key,
    }


async def test_a_key_that_may_not_list_fails_with_the_right_to_grant(
    working: Service, store: SharedStore
) -> None:
    writer = {"AWS_ACCESS_KEY_ID": "writer", "AWS_SECRET_ACCESS_KEY": "writer-secret"}
    examined = await examine({**environment(working), **in_store(store), **writer})
    assert examined.named("failed") == ["store"]
    assert "403" in examined["store"]["found"]
    assert "s3:ListBucket" in examined["store"]["mend"]


async def test_a_bucket_without_cors_for_our_pages_fails_only_if_they_are_named(
    working: Service, store: SharedStore
) -> None:
    rule: Any = {"AllowedOrigins": ["https://other.example"], "AllowedMethods": ["POST"]}
    async with get_session().create_client(
        "s3",
        endpoint_url=store.url,
        region_name=store.region,
        aws_access_key_id=store.access_key_id,
        aws_secret_access_key=store.secret_access_key,
    ) as client:
        await client.put_bucket_cors(Bucket=store.bucket, CORSConfiguration={"CORSRules": [rule]})
    variables = {**environment(working), **in_store(store)}

    named = await examine(variables, origin=ORIGIN, wait=1)
    assert named["cors"]["status"] == "failed"
    assert ORIGIN in named["cors"]["found"]
    assert f'"AllowedOrigins": ["{ORIGIN}"]' in named["cors"]["mend"]

    unnamed = await examine(variables, wait=1)
    assert unnamed["cors"]["status"] == "warning"
    assert "--origin" in unnamed["cors"]["mend"]

    admitted = await examine(variables, origin="https://other.example", wait=1)
    assert admitted["cors"]["status"] == "ok"
    # The check `event` fails: this store sends no events, and all workers use another store.
    assert admitted["event"]["status"] == "failed"


async def test_a_store_that_does_not_answer_at_all_is_given_up_in_time(
    working: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "LIMIT_S", 2.0)
    monkeypatch.setattr(checks, "REQUEST_TIMEOUT_S", 1.0)
    async with running_proxy(working.stack.seaweedfs.url) as proxy:
        proxy.hold()
        examined = await examine(environment(working, s3_endpoint_url=proxy.url), wait=1)
    assert examined.named("failed") == ["store"]
    assert "not finished within 2 s" in examined["store"]["found"]
    assert "store not known (no answer in time)" in examined["clocks"]["found"]


async def test_a_public_address_that_clients_cannot_post_to_fails_and_leaves_no_probe(
    working: Service, closed_port: int
) -> None:
    url = f"http://127.0.0.1:{closed_port}/bucket"
    examined = await examine(environment(working, s3_public_url=url))
    assert examined.named("failed") == ["upload"]
    assert url in examined["upload"]["found"]
    assert "ATTACHMENTS_S3_PUBLIC_URL" in examined["upload"]["mend"]

    nowhere = f"{working.stack.seaweedfs.url}/nowhere"
    examined = await examine(environment(working, s3_public_url=nowhere))
    assert examined.named("failed") == ["upload"]
    assert "ATTACHMENTS_S3_PUBLIC_URL" in examined["upload"]["mend"]

    examined = await examine(environment(working, max_size="1000"))
    assert examined.named("failed") == ["upload"]
    assert "ATTACHMENTS_MAX_SIZE" in examined["upload"]["mend"]
    assert await leftovers(working) == []


async def test_public_files_that_nobody_may_read_fail(working: Service) -> None:
    examined = await examine(
        environment(working, files_public="true", files_url=working.settings.upload_url)
    )
    assert examined.named("failed") == ["links"]
    assert "403" in examined["links"]["found"]
    assert "may be read by everyone" in examined["links"]["mend"]
