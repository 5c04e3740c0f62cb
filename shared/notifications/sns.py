"""The envelope of Amazon SNS: take the message out of it, and verify that SNS signed it.

Sources: Amazon SNS Developer Guide, "Verifying the signatures of Amazon SNS messages" and "Parsing
Amazon SNS message formats". Nothing here does I/O. `api.sns` fetches certificates, and only from
addresses that `certificate_url` returned.
"""

import base64
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from shared.errors import SnsRefused, UnreadableEvent

NOTIFICATION: Final = "Notification"
CONFIRMATION: Final = "SubscriptionConfirmation"
FAREWELL: Final = "UnsubscribeConfirmation"

# The members that are signed, in this order. A missing Subject is left out.
_SIGNED: dict[str, tuple[str, ...]] = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: (
        "Message",
        "MessageId",
        "SubscribeURL",
        "Timestamp",
        "Token",
        "TopicArn",
        "Type",
    ),
}
_SIGNED[FAREWELL] = _SIGNED[CONFIRMATION]
_OPTIONAL = "Subject"

MAX_AGE = timedelta(hours=1)
"""SNS tries to deliver a message for at most 3600 s, so an older message is a replay."""

MAX_AHEAD = timedelta(minutes=1)
"""Maximum time, in seconds, by which a message may be ahead of this machine's clock."""

# The pattern must match the whole address, in ASCII. So an address with a port, a user, a query, a
# further dot or capitals does not match.
_HOST = r"sns\.[a-z]{2,4}(?:-[a-z]{1,16}){1,3}-[0-9]{1,2}\.amazonaws\.com(?:\.cn)?"
_CERTIFICATE = re.compile(rf"https://{_HOST}/SimpleNotificationService-[A-Za-z0-9]{{1,64}}\.pem")
_SUBSCRIBE = re.compile(rf"https://{_HOST}/\?[A-Za-z0-9%&=:._~+-]{{1,4096}}")


def recognises(document: Any) -> bool:
    """Return whether a document has SNS's envelope, with a message of any type."""
    return isinstance(document, dict) and {"Type", "TopicArn", "Message"} <= document.keys()


def unwrap(document: Any) -> Any:
    """Return the document inside a notification. Raises UnreadableEvent if it cannot be read."""
    if document["Type"] != NOTIFICATION:
        raise UnreadableEvent("SNS's envelope is of a type that is not known")
    try:
        return orjson.loads(document["Message"])
    except (TypeError, ValueError):  # orjson's own error is a ValueError
        raise UnreadableEvent("the message in SNS's envelope is not JSON") from None


def certificate_url(
    document: Any, *, topics: Collection[str], versions: Collection[str], now: datetime
) -> str:
    """Check what can be checked without the certificate, and return the certificate's address.

    The checks, in this order: the topic is one of `topics`, the type is known, the signature's
    version is allowed, the time is within the last hour, and the certificate's address is SNS's.
    Raises SnsRefused; its text names the broken rule.
    """
    if document.get("TopicArn") not in topics:
        raise SnsRefused("the topic is not one of ATTACHMENTS_SNS_TOPICS")
    if not isinstance(document.get("Type"), str) or document["Type"] not in _SIGNED:
        raise SnsRefused("the type is not known")
    if document.get("SignatureVersion") not in versions:
        raise SnsRefused("the version of the signature is not allowed")
    try:
        written = datetime.fromisoformat(document["Timestamp"])
    except (KeyError, TypeError, ValueError):
        raise SnsRefused("the time cannot be read") from None
    if written.tzinfo is None:
        written = written.replace(tzinfo=UTC)
    if not now - MAX_AGE <= written <= now + MAX_AHEAD:
        raise SnsRefused("the message is older than an hour, or from the future")
    url = document.get("SigningCertURL")
    region = document["TopicArn"].split(":")[3]
    if (
        not isinstance(url, str)
        or not _CERTIFICATE.fullmatch(url)
        or not url.startswith(f"https://sns.{region}.amazonaws.com")
    ):
        raise SnsRefused("the address of the certificate is not one of SNS's in the topic's region")
    return url


def read_certificate(pem: bytes, *, now: datetime) -> x509.Certificate:
    """Read an RSA certificate. Raises SnsRefused if it cannot be used at the time `now`."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        rsa = isinstance(certificate.public_key(), RSAPublicKey)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise SnsRefused("the certificate cannot be read") from None
    if not rsa:
        raise SnsRefused("the certificate is not for RSA")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise SnsRefused("the certificate is not valid now")
    return certificate


def verify(document: Any, certificate: x509.Certificate) -> None:
    """Verify a message's signature by the certificate. Raises SnsRefused if it is invalid."""
    key = certificate.public_key()
    assert isinstance(key, RSAPublicKey)
    try:
        signature = base64.b64decode(document["Signature"], validate=True)
    except (ValueError, KeyError, TypeError):  # binascii's own error is a ValueError
        raise SnsRefused("the signature cannot be read") from None
    digest = SHA1() if document["SignatureVersion"] == "1" else SHA256()  # noqa: S303 - SNS's own
    try:
        key.verify(signature, signed_text(document), PKCS1v15(), digest)
    except InvalidSignature:
        raise SnsRefused("the signature is not that of the message") from None


def signed_text(document: Any) -> bytes:
    """Return the text that SNS signs: a line for each name and each value. Raises SnsRefused."""
    lines = []
    for name in _SIGNED[document["Type"]]:
        value = document.get(name)
        if value is None and name == _OPTIONAL:
            continue
        if not isinstance(value, str):
            raise SnsRefused(f"{name} is not a string")
        lines.append(f"{name}\n{value}\n")
    return "".join(lines).encode(errors="surrogatepass")


def subscribe_url(document: Any) -> str:
    """Return the address that confirms a subscription. Raises SnsRefused if SNS does not own it."""
    url = document.get("SubscribeURL")
    if not isinstance(url, str) or not _SUBSCRIBE.fullmatch(url):
        raise SnsRefused("SubscribeURL is not one of SNS's addresses")
    return url
