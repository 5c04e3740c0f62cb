"""Variables of the environment that are not the service's own: which of them count.

Libraries read dozens of variables by themselves, some at import: CELERY_BROKER_URL moves a worker
to another broker, PGSSLMODE changes how PostgreSQL is reached, HOSTALIASES renames hosts. So a
process forgets, before it imports those libraries, every variable that is not known to count.
A list of what counts ends; a list of what does not would have to follow each release of each
library. `deploy/docs/aws.md` lists them for operators.
"""

import os
import time
from collections.abc import MutableMapping

OURS = ("ATTACHMENTS_", "AWS_")
"""The service's settings, and what botocore reads."""

PROXIES = frozenset({"http_proxy", "https_proxy", "no_proxy"})
"""In lower and upper case, as botocore reads them."""

MACHINE = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "HOSTNAME", "TMPDIR", "TEMP", "TMP",
        "LANG", "LANGUAGE", "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES",
        "SUDO_USER", "VIRTUAL_ENV", "GNUPGHOME", "SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS",
        # Where this machine keeps its certificate authorities and the settings of its OpenSSL.
        "SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF", "OPENSSL_MODULES",
    }
)  # fmt: skip
"""What tells programs about the machine and the terminal, and not about a service."""

MACHINE_PREFIXES = ("LC_", "XDG_", "LD_", "DYLD_", "PYTHON")

SERVICE_LINKS = ("tcp://", "udp://", "sctp://")
"""How Kubernetes writes ATTACHMENTS_API_PORT for a Service that is named `attachments-api`.

Kubernetes documentation, "Service", environment variables.
"""

REFUSED = frozenset({"PYTHONASYNCIODEBUG", "PYTHONINSPECT", "PYTHONTZPATH", "PYTHONBREAKPOINT"})
"""What Python reads long after its start, and would change how the service runs."""


def counts(name: str) -> bool:
    """Whether a variable of this name may change what a process of the service does."""
    if name in REFUSED:
        return False
    return (
        name.startswith((*OURS, *MACHINE_PREFIXES))
        or name.upper().startswith(OURS[0])  # settings are read whatever their case
        or name in MACHINE
        # http_proxy and HTTP_PROXY; a mixture of both is no name that programs share
        or (name.lower() in PROXIES and (name.islower() or name.isupper()))
    )


def forget_foreign_variables(environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove every variable that does not count, and links to Services of Kubernetes.

    May be repeated.

    Call it first in a process of the service, before other libraries are imported. Never call it
    from code that a foreign program may import.
    """
    for name, value in list(environment.items()):
        if not counts(name) or (name.endswith("_PORT") and value.startswith(SERVICE_LINKS)):
            del environment[name]
    if environment is os.environ:
        time.tzset()  # TZ may be one of them, and the C library has read it already
