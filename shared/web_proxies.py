"""Choose the proxy and the certificate authorities for the service's own HTTPS requests.

HTTP_PROXY, HTTPS_PROXY, NO_PROXY and AWS_CA_BUNDLE apply as in botocore: to calls of S3 and SQS,
and to downloads of SNS certificates. A store or queue in the local network is reached directly.
"""

import ssl
from ipaddress import ip_address
from urllib.parse import urlsplit

import botocore.session
from botocore.exceptions import BotoCoreError, ProfileNotFound
from botocore.httpsession import ProxyConfiguration
from botocore.utils import get_environ_proxies

from shared.errors import SettingsError

_OWN_DOMAINS = (".localhost", ".local", ".internal", ".home.arpa")
"""Domains outside the public DNS: RFC 6761, 6762 and 8375, and ICANN's .internal."""


def is_own_network(url: str) -> bool:
    """Return whether an address is in this machine's network, so that no proxy is needed.

    That is true for an IP address that is not global, for a name without a dot, such as `localhost`
    or `seaweedfs`, and for a name in a domain that is not public.
    """
    host = (urlsplit(url).hostname or "").removesuffix(".")
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(_OWN_DOMAINS)


def client_proxies(url: str) -> dict[str, str] | None:
    """Return the argument `proxies` for a botocore client. None lets botocore choose."""
    return {} if is_own_network(url) else None


def proxy_for(url: str) -> str | None:
    """Return the proxy that botocore would use for this address, or None for no proxy."""
    if is_own_network(url):
        return None
    configuration = ProxyConfiguration(proxies=get_environ_proxies(url))
    found: str | None = configuration.proxy_url_for(url)
    return found


def trusted() -> ssl.SSLContext | None:
    """Return a TLS context with the authorities of AWS_CA_BUNDLE or of the AWS config file.

    Returns None if neither names a file. Raises SettingsError if the file cannot be read.
    """
    try:
        # Only the configuration is read, so the costly built-in handlers are not loaded.
        session = botocore.session.Session(include_builtin_handlers=False)
        path = session.get_config_variable("ca_bundle")
        return ssl.create_default_context(cafile=path) if path else None
    except BotoCoreError as error:
        # Only the message of ProfileNotFound is known to contain no secret.
        words = f": {error}" if isinstance(error, ProfileNotFound) else ""
        raise SettingsError(f"AWS credentials: {type(error).__name__}{words}") from None
    except OSError:  # ssl.SSLError is a subclass
        raise SettingsError("AWS_CA_BUNDLE: is not a readable file of certificates") from None
