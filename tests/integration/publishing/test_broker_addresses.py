"""Addresses of a broker: TLS, passwords, databases."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

import pytest
import redis.asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.embedded.valkey import EmbeddedValkey, find_binary
from shared.broker import queue_name
from shared.publisher import Publisher
from tests.support.publishing import arguments, queued, wake_up
from tests.support.service import until

PASSWORD = "p/ä:@ ?#;%"


@asynccontextmanager
async def with_tls(folder: Path, port: int) -> AsyncIterator[tuple[int, Path]]:
    """Run a TLS proxy in front of a port. Yield the proxy's port and its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, private = folder / "certificate.pem", folder / "key.pem"
    trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, private)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside, outside = await asyncio.open_connection("127.0.0.1", port)

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
            sink.close()

        await asyncio.gather(carry(reader, outside), carry(inside, writer), return_exceptions=True)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], trusted
    finally:
        server.close()


@asynccontextmanager
async def bare_valkey(folder: Path, port: int) -> AsyncIterator[None]:
    """Run a broker with a Unix socket, and with a password that must be escaped in an address."""
    options = ["--unixsocket", str(folder / "s"), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        [find_binary(), "--port", str(port), *options, "--requirepass", PASSWORD],
        stdout=subprocess.DEVNULL,
    )

    async def listens() -> bool:
        return (folder / "s").exists()

    try:
        await until(listens)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("kind", ["redis", "rediss", "unix"])
async def test_any_address_of_a_broker_leads_to_its_database(tmp_path: Path, kind: str) -> None:
    port = EmbeddedValkey(directory=tmp_path).port
    password = quote(PASSWORD, safe="")
    async with bare_valkey(tmp_path, port), with_tls(tmp_path, port) as (tls_port, trusted):
        url = {
            "redis": f"redis://:{password}@127.0.0.1:{port}/3",
            "rediss": f"rediss://:{password}@127.0.0.1:{tls_port}/3"
            f"?ssl_cert_reqs=required&ssl_ca_certs={quote(str(trusted), safe='')}",
            "unix": f"unix://:{password}@{tmp_path / 's'}?db=3",
        }[kind]
        publisher = Publisher(url, "")
        publisher.publish(wake_up(5))
        async with redis.asyncio.Redis(port=port, password=PASSWORD, db=3) as broker:
            [message] = await queued(broker, queue_name(1), 1)
        assert arguments(message) == [5, 1]
        await asyncio.to_thread(publisher.close)
