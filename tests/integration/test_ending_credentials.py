"""Temporary credentials are renewed, and no signature is valid longer than its credentials."""

import base64
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio

from shared.errors import StoreUnavailable
from shared.storage import Storage
from shared.store_client import open_storage
from tests.data import images
from tests.support.credential_sources import CredentialSource, running_source
from tests.support.moto_server import Moto
from tests.support.service import Client, Service, make_settings, until
from tests.support.service_processes import ApiProcess
from tests.support.stack import Stack

PATH = "/api/v2/attachments"
Source = Callable[[CredentialSource, Path], dict[str, str]]

SOURCES = [
    pytest.param(lambda source, _: source.container(), id="container"),
    pytest.param(lambda source, _: source.instance(), id="instance"),
    pytest.param(lambda source, folder: source.process(folder), id="process"),
]


@dataclass(frozen=True, kw_only=True)
class Site:
    """An API process that gets its AWS credentials from a credential source."""

    source: CredentialSource
    service: Service
    api: ApiProcess
    client: Client


@pytest_asyncio.fixture
async def source(stack: Stack) -> AsyncIterator[CredentialSource]:
    """Run a credential source that returns the keys of the store."""
    seaweedfs = stack.seaweedfs
    async with running_source(seaweedfs.access_key_id, seaweedfs.secret_access_key) as running:
        yield running


@pytest_asyncio.fixture
async def start_site(
    service: Service, source: CredentialSource
) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that starts an API. `variables` say where the API finds its credentials."""
    async with AsyncExitStack() as exits:

        async def start(variables: Mapping[str, str]) -> Site:
            api = ApiProcess(source.environment(service.environment, variables))
            exits.callback(api.close)
            await api.start()
            client = replace(service.client, base_url=api.url)
            return Site(source=source, service=service, api=api, client=client)

        yield start


def policy_of(created: Any) -> tuple[datetime, dict[str, str]]:
    """Return the expiry in a signed policy, and the policy's form fields.

    Assert that `meta.expires_at` is equal to this expiry.
    """
    fields = created["data"]["attributes"]["aws_policy"]
    document = json.loads(base64.b64decode(fields["policy"]))
    end = datetime.fromisoformat(document["expiration"])
    assert datetime.fromisoformat(created["meta"]["expires_at"]) == end
    return end, fields


def an_hour_from_now() -> datetime:
    """Return a time 3,500 s from now.

    A policy that was signed in the last 100 s expires later than this time, unless its credentials
    expire first.
    """
    return datetime.now(UTC) + timedelta(seconds=3500)


@pytest.mark.parametrize("find", SOURCES)
async def test_a_policy_ends_with_its_credentials(
    find: Source, source: CredentialSource, start_site: Any, tmp_path: Path
) -> None:
    source.lives_s = [240]
    site = await start_site(find(source, tmp_path))

    created = await site.client.create()

    end, fields = policy_of(created)
    assert datetime.now(UTC) < end <= source.ends_at
    assert fields["x-amz-security-token"] == "a-session-token"
    status, answer = await site.client.post_file(created, b"text")
    assert status == 201, answer


@pytest.mark.parametrize("find", SOURCES)
async def test_credentials_that_end_soon_are_renewed_before_they_sign(
    find: Source, source: CredentialSource, start_site: Any, tmp_path: Path
) -> None:
    source.lives_s = [240, 7200]
    site = await start_site(find(source, tmp_path))

    end, _ = policy_of(await site.client.create())

    assert end > an_hour_from_now()
    asked = source.asked
    for _ in range(5):
        await site.client.create()
    # The new credentials are valid for long, so they are not renewed for each request.
    assert source.asked == asked


@pytest.mark.parametrize("find", SOURCES)
async def test_credentials_that_cannot_be_renewed_sign_until_they_end(
    find: Source, source: CredentialSource, start_site: Any, tmp_path: Path
) -> None:
    source.lives_s = [14]
    site = await start_site(find(source, tmp_path))
    policy_of(await site.client.create())
    source.away = True

    end, _ = policy_of(await site.client.create())
    assert end <= source.ends_at

    async def refused() -> bool:
        answer = await site.client.request(
            "POST", PATH, {"data": {"type": "attachments", "attributes": {"name": "a.png"}}}
        )
        if answer.status == 201:
            assert policy_of(answer.document)[0] <= source.ends_at
            return False
        assert answer.status == 503
        assert answer.headers["Retry-After"]
        return True

    await until(refused, within_s=40, every_s=0.2)
    count = await site.service.database.fetchval("SELECT count(*) FROM attachments")
    assert await refused()
    assert await site.service.database.fetchval("SELECT count(*) FROM attachments") == count
    log = site.api.log()
    assert 1 <= log.count("AWS credentials cannot be renewed") <= 2
    assert "Traceback" not in log

    source.away, source.lives_s = False, [7200]

    async def taken() -> bool:
        return not await refused()

    source.ends_at = datetime.now(UTC) + timedelta(seconds=7200)
    await until(taken, within_s=40, every_s=0.2)
    assert policy_of(await site.client.create())[0] > an_hour_from_now()


async def test_a_link_ends_with_its_credentials(source: CredentialSource, start_site: Any) -> None:
    source.lives_s = [120]
    site = await start_site(source.container())
    site.service.stack.relay.target = site.api.url
    attachment_id = await site.client.upload(images.encode(images.quadrants(), "PNG"))
    url = await until(lambda: shown_url(site.client, attachment_id))
    # For a `ready` attachment, the API redirects without a request to the store. The test only
    # checks the address of the redirect, because SeaweedFS does not check session tokens.
    await site.service.execute("UPDATE attachments SET state = 'ready'")

    address = f"{site.api.url}{urlsplit(url).path}?{urlsplit(url).query}"
    async with site.client.session.get(address, allow_redirects=False) as answer:
        assert answer.status == 302
        location, cache = answer.headers["Location"], answer.headers["Cache-Control"]

    query = parse_qs(urlsplit(location).query)
    signed_at = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    lives_s = int(query["X-Amz-Expires"][0])
    assert lives_s > 0
    assert signed_at + timedelta(seconds=lives_s) <= source.ends_at
    assert query["X-Amz-Security-Token"] == ["a-session-token"]
    # A browser may cache the redirect for less time than the link is valid.
    assert int(cache.rpartition("=")[2]) < lives_s


async def shown_url(client: Client, attachment_id: str) -> str | None:
    """Return the signed address of an original if its upload is recorded, otherwise None."""
    url: str = (await client.show(attachment_id))["attributes"]["url"]
    return url if "?" in url else None


async def test_credentials_of_the_environment_may_have_an_end(
    service: Service, source: CredentialSource, start_site: Any
) -> None:
    end = datetime.now(UTC) + timedelta(seconds=600)
    keys = {name: service.environment[name] for name in service.environment if "AWS_" in name}

    site = await start_site(
        {**keys, "AWS_SESSION_TOKEN": "x", "AWS_CREDENTIAL_EXPIRATION": end.isoformat()}
    )

    assert policy_of(await site.client.create())[0] <= end


async def test_assumed_roles_end_at_the_time_of_sts(
    tmp_path: Path, service: Service, moto: Moto
) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-an-identity-provider")
    role = "arn:aws:iam::123456789012:role/uploads"
    config = tmp_path / "config"
    config.write_text(
        f"[profile assumed]\nrole_arn = {role}\nsource_profile = keys\nduration_seconds = 1800\n"
        "[profile keys]\naws_access_key_id = id\naws_secret_access_key = key\n"
    )
    for variables in (
        {"AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "assumed"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": role},
    ):
        environment = {
            name: value
            for name, value in service.environment.items()
            if not name.startswith("AWS_")
        }
        environment |= {"AWS_ENDPOINT_URL_STS": moto.url, **variables}
        async with storage_of(environment) as storage:
            found = await storage.credentials()
        assert found.token
        assert found.ends_at is not None
        assert timedelta(minutes=15) < found.ends_at - datetime.now(UTC) <= timedelta(hours=1)


async def test_calls_of_the_store_raise_unavailable_after_the_credentials_have_ended(
    service: Service, source: CredentialSource
) -> None:
    source.lives_s = [4]
    environment = source.environment(service.environment, source.container())
    async with storage_of(environment) as storage:
        await storage.credentials()
        source.away = True

        async def away() -> bool:
            try:
                await storage.credentials()
            except StoreUnavailable:
                return True
            return False

        await until(away, within_s=20, every_s=0.2)
        with pytest.raises(StoreUnavailable):
            await storage.head("a-key")


def storage_of(environment: Mapping[str, str]) -> Any:
    """Open the store with only the given AWS variables in the environment."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}

    class Opened(AsyncExitStack):
        async def __aenter__(self) -> Storage:  # type: ignore[override]  # returns it opened
            await super().__aenter__()
            self.enter_context(mock.patch.dict(os.environ, {**others, **environment}, clear=True))
            opened: Storage = await self.enter_async_context(
                open_storage(make_settings(environment))
            )
            return opened

    return Opened()
