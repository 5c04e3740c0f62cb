"""Raw TCP servers as untrusted receivers of webhooks, and a sender that delivers to them."""

import asyncio
import datetime
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.settings import Settings
from shared.webhooks.dispatch import Delivery
from shared.webhooks.secret_signing import make_secret
from shared.webhooks.vault import Vault
from tests.support.rows import attachment
from tests.support.service import make_settings
from tests.support.settings import VALID
from worker.webhooks.sending import Reply, open_sender

VAULT = Vault("key-of-webhook-secrets")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Names(AbstractResolver):
    """A resolver that answers each look-up with the next address of its list.

    It repeats the last address.
    """

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the next address of the list, for any host name."""
        self.asked += 1
        address = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self) -> None:
        """Do nothing, because this resolver holds no resource."""


class Server:
    """A TCP server that counts its connections and the bytes that it has written."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.written = 0


@asynccontextmanager
async def running(
    serve: Serve, server: Server, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Run a server on loopback, and yield its port. `serve` handles each connection."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield int(listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> None:
    """Read an HTTP request and its body from a connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    await reader.readexactly(length)


def delivery(url: str) -> Delivery:
    """Make a delivery of a webhook to this address."""
    return Delivery(
        id=1,
        webhook_id=1,
        organization_id=1,
        message_id=uuid4(),
        event="attachment.ready",
        attempt=1,
        created_at=datetime.datetime.now(datetime.UTC),
        target_url=url,
        secret=VAULT.encrypt(make_secret()),
        secret_previous=None,
        attachment=attachment(),
    )


def settings_for(networks: str = "", *, allow_http: bool = True) -> Settings:
    """Return the settings of a worker that may send webhooks to the given networks.

    If `allow_http` is true, the addresses of webhooks may use http.
    """
    environment = {f"ATTACHMENTS_{name}": value for name, value in VALID.items()}
    return make_settings(
        {
            **environment,
            "ATTACHMENTS_API_URL": "https://attachments.example",
            "ATTACHMENTS_WEBHOOK_NETWORKS": networks,
            "ATTACHMENTS_WEBHOOK_ALLOW_HTTP": str(allow_http).lower(),
        }
    )


async def send(
    *urls: str,
    names: Names | None = None,
    networks: str = "127.0.0.0/8",
    allow_http: bool = True,
    timeout_s: float = 10,
) -> list[Reply]:
    """Send deliveries to these addresses one after the other with one sender, and return the
    results.
    """
    settings = settings_for(networks, allow_http=allow_http)
    async with open_sender(settings, VAULT, resolver=names, timeout_s=timeout_s) as sender:
        return [await sender.send(delivery(url)) for url in urls]


def self_signed(folder: Path, name: str) -> ssl.SSLContext:
    """Return a TLS context with a self-signed certificate for a host name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def accept_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer any request with 204."""
    await read_request(reader)
    writer.write(b"HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n")
    await writer.drain()
