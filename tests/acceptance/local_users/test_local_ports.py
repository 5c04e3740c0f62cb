"""Every port and socket of `attachments up` requires a key, a password or a certificate."""

import ssl
import stat
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from botocore.exceptions import ClientError

from deploy.embedded.seaweedfs_keys import write_security
from tests.support.local_ports import SEALED, names, port_of
from tests.support.sockets import HTTP2, ask, listening_paths
from tests.support.up import Up, s3_client

KNOWN = {
    "api": "asks for a token; health is open",
    **dict.fromkeys(("metrics.api", "metrics.worker"), "counts, and names nothing that is stored"),
    "page": "asks for the secret of its address",
    "postgres": "asks for a password (SCRAM)",
    "valkey": "asks for a password",
    "s3.port": "asks for a signature; /healthz is open",
    **dict.fromkeys(SEALED, "asks for a client certificate"),
}
"""The ports on which processes may listen, each with its protection. A test fails if a process
listens on another port.
"""

HTTPS_ONLY = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")

PATHS = (
    "/",
    "/dir/status",
    "/dir/assign",
    "/dir/lookup?volumeId=1",
    "/cluster/status",
    "/vol/grow",
    "/vol/status",
    "/buckets/",
    "/buckets/attachments/theirs",
    "/1,01",
    "/status",
    "/stats/disk",
    "/healthz",
    "/health",
    "/metrics",
    "/debug/pprof/",
    "/ui/index.html",
    "/admin",
    "/.tus/",
)

CONTENT = b"not for others"


@pytest.fixture
async def theirs(document: dict[str, Any]) -> str:
    """Store an object, and return its key.

    The tests try to change this object without the store's access key.
    """
    async with s3_client(document) as store:
        await store.put_object(Bucket=document["bucket"], Key="theirs", Body=CONTENT)
    return "theirs"


def test_every_port_is_known(up: Up) -> None:
    assert names(up) == set(KNOWN)


@pytest.mark.skipif(not Path("/proc/net/unix").exists(), reason="no list of Unix sockets here")
def test_every_unix_socket_is_ours_alone(up: Up) -> None:
    paths = listening_paths(up.tree())
    assert any(path.name.startswith("seaweedfs-filer-grpc-") for path in paths)
    for path in paths:
        assert not str(path).startswith("@"), f"{path} is abstract: anyone may connect"
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


@pytest.mark.parametrize("name", SEALED)
def test_a_sealed_port_sends_nothing_unencrypted(up: Up, name: str) -> None:
    port = port_of(up, name)
    requests = [
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode()
        for method in METHODS
        for path in PATHS
    ]
    answers = {ask(port, request) for request in [*requests, HTTP2]}
    assert answers <= {b"", HTTPS_ONLY}


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
@pytest.mark.parametrize("certificate", ["none", "of another authority"])
@pytest.mark.parametrize("name", SEALED)
def test_a_sealed_port_refuses_tls_without_our_certificate(
    up: Up, tmp_path: Path, name: str, certificate: str, protocol: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    if certificate != "none":
        write_security(tmp_path, "127.0.0.1")
        context.load_cert_chain(tmp_path / "tls.pem")
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        ask(port_of(up, name), b"GET / HTTP/1.0\r\n\r\n" if protocol != "h2" else HTTP2, context)


def test_s3_answers_nothing_without_a_signature(up: Up, theirs: str) -> None:
    port = port_of(up, "s3.port")
    paths = ("/", "/attachments", "/attachments?versions", f"/attachments/{theirs}", "/other")
    actions = (
        "/?Action=ListUsers&Version=2010-05-08",
        "/?Action=CreateUser&UserName=me",
        "/?Action=AssumeRoleWithWebIdentity&RoleArn=r&WebIdentityToken=t&RoleSessionName=s",
    )
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
        for path in (*paths, *actions, *PATHS):
            head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            answer = ask(port, f"{head}Content-Length: 0\r\n\r\n".encode())
            status = int(answer.split(maxsplit=2)[1])
            if method in ("GET", "HEAD") and path in ("/healthz", "/status"):
                assert answer.endswith(b"\r\n\r\n"), "it says more than that it is well"
            else:
                assert 400 <= status < 500 or status == 501, (method, path, answer)
            assert CONTENT not in answer
    assert b"HTTP/1.1 4" in ask(port, HTTP2)


async def test_s3_refuses_other_keys_and_keeps_its_objects(
    document: dict[str, Any], theirs: str
) -> None:
    where = {"Bucket": document["bucket"], "Key": theirs}
    async with s3_client({**document, "s3_secret_access_key": "guessed"}) as stranger:
        for call in (stranger.get_object, stranger.delete_object):
            with pytest.raises(ClientError) as refused:
                await call(**where)
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    async with s3_client(document) as store:
        found = await store.get_object(**where)
        assert await found["Body"].read() == CONTENT


@pytest.mark.parametrize(
    "command", ["INFO", "PING", "KEYS *", "FLUSHALL", "CONFIG GET *", "ACL LIST"]
)
def test_valkey_asks_for_its_password(up: Up, command: str) -> None:
    answer = ask(port_of(up, "valkey"), f"{command}\r\nQUIT\r\n".encode())
    assert answer.startswith(b"-NOAUTH")


@pytest.mark.parametrize("user", ["attachments", "postgres", "nobody"])
@pytest.mark.parametrize("password", ["", "attachments"])
async def test_postgres_asks_for_its_password(up: Up, user: str, password: str) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            host="127.0.0.1",
            port=port_of(up, "postgres"),
            user=user,
            password=password,
            database="attachments",
            passfile="/nonexistent",
        )


async def test_postgres_trusts_no_one(document: dict[str, Any]) -> None:
    connection = await asyncpg.connect(document["database_url"])
    methods = await connection.fetch("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
    sockets = await connection.fetchval("SHOW unix_socket_directories")
    await connection.close()
    assert [row["auth_method"] for row in methods] == ["scram-sha-256"]
    assert sockets == ""
