"""Embedded servers that are started again: the data, certificates and keys that they keep."""

import os
import stat
import time
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from aiobotocore.session import get_session

from deploy.embedded import seaweedfs
from deploy.embedded.postgres import EmbeddedPostgres, hand_over
from deploy.embedded.seaweedfs import EmbeddedSeaweedFS
from deploy.embedded.seaweedfs_keys import VALID_DAYS, write_security
from deploy.processes.supervisor import StartFailed

HOST = "127.0.0.1"


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """Write `tls.pem`, with certificates and a key, as a first start does; return its path."""
    write_security(tmp_path, HOST)
    return tmp_path / "tls.pem"


def test_certificates_are_kept_and_keys_of_tokens_are_new(pem: Path) -> None:
    before, configuration = pem.read_text(), pem.with_name("security.toml").read_text()
    write_security(pem.parent, HOST)
    assert pem.read_text() == before
    assert pem.with_name("security.toml").read_text() != configuration


def test_keys_are_private_and_the_authoritys_own_is_not_kept(pem: Path) -> None:
    for path in (pem, pem.with_name("security.toml")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert pem.read_text().count("BEGIN PRIVATE KEY") == 1
    key, certificate, authority = pem.read_text().split("-----BEGIN ")[1:]
    assert "PRIVATE KEY" in key
    assert certificate != authority


@pytest.mark.parametrize("days", [-30, VALID_DAYS * 0.6], ids=["of the future", "half over"])
def test_certificates_are_replaced_in_time(
    pem: Path, monkeypatch: pytest.MonkeyPatch, days: float
) -> None:
    before, now = pem.read_text(), time.time()
    monkeypatch.setattr(time, "time", lambda: now + timedelta(days=days).total_seconds())
    write_security(pem.parent, HOST)
    assert pem.read_text() != before


@pytest.mark.parametrize("left", [0.0, 0.2, 0.5, 0.9])
def test_a_damaged_file_is_replaced(pem: Path, left: float) -> None:
    before = pem.read_text()
    pem.write_text(before[: int(len(before) * left)])
    write_security(pem.parent, HOST)
    assert pem.read_text().count("-----END ") == 3
    assert pem.read_text() != before


async def test_objects_of_a_store_without_keys_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EmbeddedSeaweedFS(directory=tmp_path)
    client = get_session().create_client(
        "s3",
        endpoint_url=store.url,
        region_name=store.region,
        aws_access_key_id=store.access_key_id,
        aws_secret_access_key=store.secret_access_key,
    )
    async with client as s3:
        with monkeypatch.context() as earlier:
            earlier.setattr(seaweedfs, "write_security", lambda *_: None)
            await store.start()
        body = os.urandom(5_000_000)
        await s3.put_object(Bucket=store.bucket, Key="kept", Body=body)
        await store.stop()
        assert not (tmp_path / "security.toml").exists()
        await store.start()
        try:
            found = await s3.get_object(Bucket=store.bucket, Key="kept")
            assert await found["Body"].read() == body
        finally:
            await store.stop()


async def test_a_socket_of_another_user_is_not_used(tmp_path: Path) -> None:
    store = EmbeddedSeaweedFS(directory=tmp_path)
    # A server cannot remove another user's socket, unless it runs as root. The tests may run as
    # root. So the test makes a folder at the socket's path: even root cannot unlink a folder.
    squatted = Path(f"/tmp/seaweedfs-filer-grpc-{store.ports['filer.port.grpc']}.sock")
    os.mkdir(squatted)
    try:
        with pytest.raises(StartFailed, match=str(squatted)):
            await store.start()
    finally:
        os.rmdir(squatted)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_link_in_the_place_of_the_data_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "target")
    with pytest.raises(StartFailed, match="not a directory"):
        hand_over(tmp_path / "data", (54_321, 54_321))
    assert (tmp_path / "target").stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL has another user")
async def test_data_of_nobody_gets_a_user_of_its_own(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(directory=tmp_path, durable=False)
    await postgres.start()
    connection = await asyncpg.connect(postgres.url)
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    await connection.close()
    await postgres.stop()
    for path in (tmp_path, tmp_path / "data", *(tmp_path / "data").rglob("*")):
        os.chown(path, 65_534, 65_534)
    elsewhere, linked = tmp_path.with_name("elsewhere"), tmp_path / "data/linked"
    elsewhere.write_text("root's")
    os.symlink(elsewhere, tmp_path / "data/symlink")
    os.link(elsewhere, linked)
    await postgres.start()
    try:
        connection = await asyncpg.connect(postgres.url)
        assert await connection.fetchval("SELECT number FROM kept") == 7
        await connection.close()
    finally:
        await postgres.stop()
    assert elsewhere.stat().st_uid == 0
    for link in (linked, tmp_path / "data/symlink"):
        link.unlink()
    owners = {path.stat().st_uid for path in (tmp_path / "data").rglob("*")}
    assert len(owners) == 1
    assert not owners & {0, 65_534}
    status = os.stat(tmp_path)
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o710)
