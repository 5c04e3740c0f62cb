"""Another user of the machine on which `attachments up` runs gets at nothing."""

import os
import ssl
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from botocore.exceptions import ClientError

from deploy.embedded.ports import PARTNER
from deploy.embedded.seaweedfs import find_binary
from deploy.embedded.seaweedfs_keys import write_security
from deploy.local.data_dir import read_kept
from tests.support.sockets import HTTP2, ask, listening_paths, listening_ports
from tests.support.up import Up, refused, running, s3_client, until

SEALED = (
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "admin.port",
    "admin.port.grpc",
)
"""Ports of SeaweedFS's parts: mutual TLS, so that nothing is answered without a certificate."""
KNOWN = {
    "api": "asks for a token; health is open",
    **dict.fromkeys(("metrics.api", "metrics.worker"), "counts, and names nothing that is stored"),
    "postgres": "asks for a password (SCRAM)",
    "valkey": "asks for a password",
    "s3.port": "asks for a signature; /healthz is open",
    **dict.fromkeys(SEALED, "asks for a client certificate"),
}
"""Every port that may listen, and why it may: a port that is not here fails the tests."""
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
USERS = (65_534, 54_321)
"""Nobody, and a user whom the machine does not know."""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """Run a stack in a directory of which other users may at least enter the parent."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with running(Path(folder) / "data", "--decoders", "1") as shared:
            # SeaweedFS's admin part is the last to listen, after S3 answers.
            until(lambda: "admin.port.grpc" in names(shared), 20)
            yield shared


@pytest.fixture(scope="module")
def document(up: Up) -> dict[str, Any]:
    return up.document()


@pytest.fixture
async def theirs(document: dict[str, Any]) -> str:
    """An object that must stay as it is."""
    async with s3_client(document) as store:
        await store.put_object(Bucket=document["bucket"], Key="theirs", Body=CONTENT)
    return "theirs"


def ports_of(up: Up) -> dict[int, str]:
    kept = read_kept(up.data_dir).ports
    named = {**kept, "admin.port.grpc": kept["admin.port"] + PARTNER}
    return {port: name for name, port in named.items()}


def names(up: Up) -> set[str]:
    named = ports_of(up)
    return {named.get(port, f"{address}:{port}") for address, port in listening_ports(up.tree())}


def port_of(up: Up, name: str) -> int:
    return next(port for port, each in ports_of(up).items() if each == name)


def act_as(uid: int, arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as another user, without anything of ours but its standard input."""
    return subprocess.run(
        arguments,
        user=uid,
        group=uid,
        extra_groups=[],
        cwd="/",
        text=True,
        capture_output=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        **options,
    )


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
def test_a_sealed_port_says_nothing_in_clear(up: Up, name: str) -> None:
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


async def test_s3_refuses_other_keys_and_keeps_what_it_has(
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


def shell(up: Up, folder: str | Path, uid: int = 0) -> str:
    """Run SeaweedFS's own client in a folder; returns what it found out within ten seconds."""
    named = {name: port for port, name in ports_of(up).items()}
    master = f"127.0.0.1:{named['master.port']}.{named['master.port.grpc']}"
    binary = os.open(find_binary(), os.O_RDONLY)  # it may lie where that user cannot look
    try:
        process: subprocess.Popen[str] = subprocess.Popen(
            [f"/proc/self/fd/{binary}", "shell", f"-master={master}"],
            pass_fds=[binary],
            cwd=folder,
            env={"HOME": str(folder)},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            user=uid,
            group=uid,
            extra_groups=[],
        )
    finally:
        os.close(binary)
    try:
        return process.communicate("cluster.ps\nvolume.list\nfs.ls /buckets\n", 10)[0]
    except subprocess.TimeoutExpired:  # it tries again for ever
        process.kill()
        return process.communicate()[0]


@needs_root
def test_the_stores_own_client_needs_the_keys(up: Up) -> None:
    assert "attachments" in shell(up, up.data_dir / "seaweedfs"), "the client does not work"
    for uid in USERS:
        said = shell(up, "/", uid)
        assert "attachments" not in said
        assert "127.0.0.1" not in said


@needs_root
@pytest.mark.parametrize("uid", USERS)
def test_no_file_can_be_read_or_written(up: Up, uid: int) -> None:
    paths = [up.data_dir / name for name in ("postgres/data/PG_VERSION", "seaweedfs/security.toml")]
    paths += [path for path in up.data_dir.rglob("*") if not path.is_symlink()]
    assert len(paths) > 500
    tried = 'while read -r path; do [ -r "$path" ] || [ -w "$path" ] && echo "$path"; done; :'
    listed = "\n".join(map(str, paths)) + "\n"
    assert act_as(uid, ["sh", "-c", tried], input=listed).stdout == ""
    by_root = act_as(0, ["sh", "-c", tried], input=listed).stdout
    assert len(by_root.splitlines()) > 500, "the question is asked wrongly"


@needs_root
@pytest.mark.parametrize("uid", USERS)
def test_no_process_shows_its_environment_or_files(up: Up, uid: int) -> None:
    pids = [process.pid for process in up.tree()]
    for look, kinds in (("cat", ("environ", "maps", "mem")), ("ls", ("fd/", "cwd/"))):
        paths = [f"/proc/{pid}/{kind}" for pid in pids for kind in kinds]
        tried = f'for path; do {look} "$path"; done'
        assert act_as(uid, ["sh", "-c", tried, "-", *paths]).stdout == ""
    signalled = 'for pid; do kill -0 "$pid" && echo "$pid"; done'
    assert act_as(uid, ["sh", "-c", signalled, "-", *map(str, pids)]).stdout == ""


def test_no_key_is_in_the_list_of_processes(up: Up) -> None:
    configuration = (up.data_dir / "seaweedfs/security.toml").read_text()
    keys = [line.split('"')[1] for line in configuration.splitlines() if line.startswith("key = ")]
    lines = " ".join(word for process in up.tree() for word in process.cmdline())
    assert len([key for key in keys if len(key) == 64]) == 4
    assert not [key for key in keys if key in lines]


@needs_root
@pytest.mark.parametrize("uid", USERS)
def test_no_stack_starts_with_keys_that_they_have_left(tmp_path: Path, uid: int) -> None:
    """Whoever made the directory first could else choose its token and the keys of its store."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "secrets.json").write_text('{"token": "known to them"}')
    for path in (data_dir / "secrets.json", data_dir):
        path.chmod(0o777)
        os.chown(path, uid, uid)
    assert "belongs to another user" in refused(data_dir)
    os.chown(data_dir, 0, 0)
    assert "secrets.json belongs to another user" in refused(data_dir)
    assert refused(data_dir) == (
        f"attachments up: {data_dir / 'secrets.json'}: belongs to another user\n"
    )
