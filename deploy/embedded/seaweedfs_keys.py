"""The certificates and keys with which SeaweedFS's servers authenticate each other.

SeaweedFS is several servers in one process: master, volume, filer, S3 and admin. They talk to each
other over HTTP and gRPC on loopback ports, which every user of the machine can reach. Without keys,
any user could list, read, write and delete the objects through these ports.
"""

import datetime
import ipaddress
import json
import secrets
import ssl
import time
from collections.abc import Mapping
from pathlib import Path

from deploy.private_files import write_private

CERTIFICATES = "tls.pem"
CONFIGURATION = "security.toml"
VALID_DAYS = 3650
RENEW_DAYS = 1825
"""A certificate is replaced at the next start if it is valid for fewer days than this."""
SKEW_DAYS = 1
"""A certificate is already valid for this number of days when it is made. So it stays valid if the
clock is later set back by fewer days.
"""
DAY_S = 86_400
JWT_SECTIONS = ("signing", "signing.read", "filer_signing", "filer_signing.read")
GRPC_PARTS = ("master", "volume", "filer", "s3", "admin", "worker", "client")
HTTPS_PARTS = ("master", "volume", "filer", "admin")


def write_security(directory: Path, host: str) -> None:
    """Write `security.toml` to SeaweedFS's working directory, where SeaweedFS looks for it.

    Certificates are made at the first start, stored in `tls.pem`, and replaced when half of their
    time is over. JWT keys are new at each start, because tokens signed with them are valid for only
    ten seconds. May be repeated while the server is stopped. Raises OSError.
    """
    path = directory / CERTIFICATES
    if not _is_usable(path, time.time()):
        write_private(path, _make_certificates(host))
    write_private(directory / CONFIGURATION, "\n".join(_sections()))


def write_container_security(directory: Path, host: str) -> None:
    """Write the same files as `write_security`, readable by every user, for a container.

    Every user must be able to read them, because the user id of SeaweedFS in the container is not
    known here. So only that container may mount the volume with the files. May be repeated; a
    running SeaweedFS reads the files only at its next start.
    """
    write_security(directory, host)
    for name in (CERTIFICATES, CONFIGURATION):
        (directory / name).chmod(0o644)


def _sections() -> list[str]:
    # Key, certificate and CA are in one file, so that they always match. `security.toml` has only
    # the name of this file, because the path may contain characters that TOML does not allow.
    # SeaweedFS looks for the file in its working directory.
    path = CERTIFICATES
    pair = {"cert": path, "key": path}
    return [
        *(_section(f"jwt.{name}", {"key": secrets.token_hex()}) for name in JWT_SECTIONS),
        _section("grpc", {"ca": path}),
        *(_section(f"grpc.{part}", pair) for part in GRPC_PARTS),
        _section("https.client", {"enabled": True, "ca": path, **pair}),
        *(_section(f"https.{part}", {"ca": path, **pair}) for part in HTTPS_PARTS),
    ]


def _section(name: str, values: Mapping[str, str | bool]) -> str:
    # JSON strings and booleans are also valid TOML.
    return "".join([f"[{name}]\n", *(f"{key} = {json.dumps(values[key])}\n" for key in values)])


def _is_usable(path: Path, now: float) -> bool:
    """Return True if a file has a key, its certificate and a CA, and they are valid long enough."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
        context.load_cert_chain(path)
    except (OSError, ValueError):  # SSLError is a subclass of OSError
        return False
    return any(
        ssl.cert_time_to_seconds(str(each["notBefore"])) <= now
        and ssl.cert_time_to_seconds(str(each["notAfter"])) >= now + RENEW_DAYS * DAY_S
        for each in context.get_ca_certs()
    )


def _make_certificates(host: str) -> str:
    """Make a CA, and one certificate with its private key for all servers, valid for VALID_DAYS.

    Returns PEM text: key, certificate, CA. The CA's private key is not kept, because no other
    certificate is made with it.
    """
    # The modules are imported here, because the import takes 0.1 s and only a first start needs it.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def name_of(host: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            return x509.DNSName(host)

    def sign(name: str, public_key: ec.EllipticCurvePublicKey, *, is_ca: bool) -> bytes:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "seaweedfs-ca")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=SKEW_DAYS))
            .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if not is_ca:
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(
                x509.SubjectAlternativeName([name_of(host)]), critical=False
            ).add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM)

    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    certificate = sign("seaweedfs", key.public_key(), is_ca=False)
    return b"".join(
        [private, certificate, sign("seaweedfs-ca", ca_key.public_key(), is_ca=True)]
    ).decode()
