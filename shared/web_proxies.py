"""Which requests of the service go through a proxy, and whom they trust: as botocore has it.

HTTP_PROXY, HTTPS_PROXY, NO_PROXY and AWS_CA_BUNDLE count for calls of S3 and SQS and for the
certificates of SNS alike. A store or queue in the service's own network is reached without a proxy.
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
"""Domains that the public DNS does not have: RFC 6761, 6762, 8375, and ICANN's .internal."""


def is_own_network(url: str) -> bool:
    """Whether an address is of this machine or its network: no proxy is needed to reach it.

    That is an IP address that is not global, a name without a dot, such as `localhost` or
    `seaweedfs`, or a name in a domain that is not public.
    """
    host = (urlsplit(url).hostname or "").removesuffix(".")
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(_OWN_DOMAINS)


def client_proxies(url: str) -> dict[str, str] | None:
    """Give the `proxies` of a botocore client of this address; None leaves them to botocore."""
    return {} if is_own_network(url) else None


def proxy_for(url: str) -> str | None:
    """Give the proxy that botocore would send a request of this address through, if any."""
    if is_own_network(url):
        return None
    configuration = ProxyConfiguration(proxies=get_environ_proxies(url))
    found: str | None = configuration.proxy_url_for(url)
    return found


def trusted() -> ssl.SSLContext | None:
    """Read the authorities that AWS_CA_BUNDLE or the config file names; None if neither does.

    Reads files. Raises SettingsError if they cannot be read.
    """
    try:
        path = botocore.session.Session().get_config_variable("ca_bundle")
        return ssl.create_default_context(cafile=path) if path else None
    except BotoCoreError as error:
        # the one whose words are known to hold no secret
        words = f": {error}" if isinstance(error, ProfileNotFound) else ""
        raise SettingsError(f"AWS credentials: {type(error).__name__}{words}") from None
    except OSError:  # ssl.SSLError is one
        raise SettingsError("AWS_CA_BUNDLE: is no readable file of certificates") from None
