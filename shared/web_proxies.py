"""Choose the proxy and the certificate authorities of the service's requests, as botocore does.

HTTP_PROXY, HTTPS_PROXY, NO_PROXY and AWS_CA_BUNDLE apply to calls of S3 and SQS and to the
certificates of SNS. A store or queue in the service's own network is reached without a proxy.
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
    """Return whether an address is in this machine's network, so that it needs no proxy.

    That is an IP address that is not global, a name without a dot, such as `localhost` or
    `seaweedfs`, or a name in a domain that is not public.
    """
    host = (urlsplit(url).hostname or "").removesuffix(".")
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(_OWN_DOMAINS)


def client_proxies(url: str) -> dict[str, str] | None:
    """Return the `proxies` for a botocore client of this address; None leaves them to botocore."""
    return {} if is_own_network(url) else None


def proxy_for(url: str) -> str | None:
    """Return the proxy that botocore would use for this address; None if it would use none."""
    if is_own_network(url):
        return None
    configuration = ProxyConfiguration(proxies=get_environ_proxies(url))
    found: str | None = configuration.proxy_url_for(url)
    return found


def trusted() -> ssl.SSLContext | None:
    """Load the authorities that AWS_CA_BUNDLE or the config file names; None without such names.

    Reads files. Raises SettingsError if they cannot be read.
    """
    try:
        # Only the configuration is read. A session without handlers of calls is far cheaper.
        session = botocore.session.Session(include_builtin_handlers=False)
        path = session.get_config_variable("ca_bundle")
        return ssl.create_default_context(cafile=path) if path else None
    except BotoCoreError as error:
        # the only class whose message is known to contain no secret
        words = f": {error}" if isinstance(error, ProfileNotFound) else ""
        raise SettingsError(f"AWS credentials: {type(error).__name__}{words}") from None
    except OSError:  # includes ssl.SSLError
        raise SettingsError("AWS_CA_BUNDLE: is not a readable file of certificates") from None
