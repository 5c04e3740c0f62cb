"""A stand-in for Amazon SNS: a TLS server with certificates of the tests' own authority.

The DNS resolver returns the address of this server for every host name, and the server records each
request. So a test can assert that the service sent no request.
"""

import asyncio
import base64
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

HOST = "sns.eu-west-1.amazonaws.com"
CHINA = "sns.cn-north-1.amazonaws.com.cn"
GOVERNMENT = "sns.us-gov-west-1.amazonaws.com"
HOSTS = (HOST, CHINA, GOVERNMENT)
CERTIFICATE_PATH = "/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem"

# AWS's documentation, "Verifying the signatures of Amazon SNS messages", lists the signed members
# in this order.
NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def new_key() -> rsa.RSAPrivateKey:
    """Make an RSA key of 2,048 bits, the length of the keys of SNS."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True)
class Authority:
    """A certificate authority that only the tests trust."""

    key: PrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def certify(
        self,
        key: PrivateKey,
        *names: str,
        authority: bool = False,
        days: tuple[float, float] = (-1, 1),
    ) -> x509.Certificate:
        """Make a certificate for a key and host names.

        `days` is the start and the end of its validity, in days from now.
        """
        now = datetime.now(UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the tests' authority")])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        public = self.key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(issuer if authority else subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
            )
        )
        if authority:
            usage = x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            )
            builder = builder.add_extension(usage, critical=True)
        return builder.sign(self.key, SHA256())


def pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate in PEM form, as a server serves it."""
    return certificate.public_bytes(Encoding.PEM)


@dataclass(kw_only=True)
class Reply:
    """The response of the server to requests for one path."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    gate: asyncio.Event | None = None


class Amazon(AbstractResolver):
    """The stand-in server, and a DNS resolver that returns its address for every host name.

    `asked` lists the host names that were resolved. `seen` lists the addresses that were requested.
    `replies` maps a path to its response; the response for any other path is the certificate of
    `signing_key`.
    """

    def __init__(self) -> None:
        self.authority = Authority()
        self.signing_key = new_key()
        self.certificate = pem(self.authority.certify(self.signing_key, "sns.amazonaws.com"))
        self.asked: list[str] = []
        self.seen: list[str] = []
        self.replies: dict[str, Reply] = {}
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._server_context()).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        assert self._runner is not None
        await self._runner.cleanup()

    def connector(self) -> aiohttp.TCPConnector:
        """Return a new connector that connects to this server for every host name.

        The connector trusts only the tests' certificate authority.
        """
        trusted = pem(self.authority.certify(self.authority.key, "authority", authority=True))
        context = ssl.create_default_context(cadata=trusted.decode())
        return aiohttp.TCPConnector(
            resolver=self, ssl=context, use_dns_cache=False, force_close=True
        )

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve every host name to the address of this server."""
        self.asked.append(host)
        return [
            ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=self.port,
                family=socket.AF_INET,
                proto=0,
                flags=0,
            )
        ]

    async def close(self) -> None:
        """Do nothing, because several connectors may share this resolver."""

    def sign(
        self, document: dict[str, Any], key: rsa.RSAPrivateKey | None = None, **how: Any
    ) -> dict[str, Any]:
        """Return a copy of an SNS message with the signature that its SignatureVersion requires.

        `how` may contain another `digest` or another signature `scheme`.
        """
        names = NOTIFICATION if document["Type"] == "Notification" else CONFIRMATION
        text = "".join(f"{name}\n{document[name]}\n" for name in names if name in document)
        first = document.get("SignatureVersion") == "1"
        usual = SHA1() if first else SHA256()  # noqa: S303 - SNS signs so
        signature = (key or self.signing_key).sign(
            text.encode(), how.get("scheme", padding.PKCS1v15()), how.get("digest", usual)
        )
        return {**document, "Signature": base64.b64encode(signature).decode()}

    async def _answer(self, request: web.Request) -> web.Response:
        self.seen.append(f"https://{request.host}{request.path_qs}")
        reply = self.replies.get(request.path, Reply(body=self.certificate))
        if reply.gate is not None:
            await reply.gate.wait()
        return web.Response(body=reply.body, status=reply.status, headers=reply.headers)

    def _server_context(self) -> ssl.SSLContext:
        key = new_key()
        certificate = self.authority.certify(key, *HOSTS)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.NamedTemporaryFile() as file:
            file.write(
                key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
            )
            file.write(pem(certificate))
            file.flush()
            context.load_cert_chain(file.name)
        return context


@asynccontextmanager
async def running_amazon() -> AsyncIterator[Amazon]:
    """Run the stand-in server of SNS."""
    amazon = Amazon()
    await amazon.start()
    try:
        yield amazon
    finally:
        await amazon.stop()
