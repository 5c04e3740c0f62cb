"""Remove environment variables that are not meant for the service, before libraries read them.

Libraries read dozens of variables, some during import. CELERY_BROKER_URL moves a worker to another
broker, PGSSLMODE changes how PostgreSQL is reached, HOSTALIASES renames hosts. So each process
removes every variable that is not listed here, before it imports those libraries. The variables to
keep are listed, because a list of those to remove would change with each release of each library.
`deploy/docs/aws.md` lists the kept variables for operators.
"""

import os
import sys
import time
from collections.abc import MutableMapping

OURS = ("ATTACHMENTS_", "AWS_")
"""The prefixes of the service's own settings and of botocore's variables."""

PROXIES = frozenset({"http_proxy", "https_proxy", "no_proxy"})
"""The variables for proxies. botocore reads them in lower case and in upper case."""

MACHINE = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "PWD",
        "HOSTNAME",
        "TMPDIR",
        "TEMP",
        "TMP",
        "LANG",
        "LANGUAGE",
        "TERM",
        "COLORTERM",
        "NO_COLOR",
        "FORCE_COLOR",
        "COLUMNS",
        "LINES",
        "SUDO_USER",
        "VIRTUAL_ENV",
        "GNUPGHOME",
        "SSH_AUTH_SOCK",
        "DBUS_SESSION_BUS_ADDRESS",
        # The paths of this machine's certificate authorities and OpenSSL settings.
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "OPENSSL_CONF",
        "OPENSSL_MODULES",
    }
)
"""Variables that describe the machine and the terminal, not a service."""

MACHINE_PREFIXES = ("LC_", "XDG_", "LD_", "DYLD_", "PYTHON")

SERVICE_LINKS = ("tcp://", "udp://", "sctp://")
"""The beginnings of the values that Kubernetes sets for a Service. For example, for a Service named
`attachments-api`, Kubernetes sets ATTACHMENTS_API_PORT to `tcp://10.0.0.1:80`.

Source: Kubernetes documentation, "Service", environment variables.
"""

REFUSED = frozenset({"PYTHONASYNCIODEBUG", "PYTHONINSPECT", "PYTHONTZPATH", "PYTHONBREAKPOINT"})
"""Variables that Python reads long after its start, and that would change the running service."""


TRACES = "ATTACHMENTS_OTLP_URL"
"""The setting that turns traces on."""


def counts(name: str) -> bool:
    """Return whether a variable of this name is kept, so that it may affect the service."""
    if name in REFUSED:
        return False
    return (
        name.startswith((*OURS, *MACHINE_PREFIXES))
        or name.upper().startswith(OURS[0])  # the names of settings may be in upper or lower case
        or name in MACHINE
        # Programs read http_proxy and HTTP_PROXY, not names with letters of both cases.
        or (name.lower() in PROXIES and (name.islower() or name.isupper()))
    )


def forget_foreign_variables(environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove every variable that is not kept, and those that Kubernetes sets for a Service.

    If traces are off, this process can no longer import OpenTelemetry.

    May be repeated. Call it first in a process of the service, before other libraries are imported.
    Never call it from code that another program may import.
    """
    for name, value in list(environment.items()):
        if not counts(name) or (name.endswith("_PORT") and value.startswith(SERVICE_LINKS)):
            del environment[name]
    if environment is os.environ:
        time.tzset()  # TZ may be removed now, so the C library must read it again
        if not any(name.upper() == TRACES and value for name, value in environment.items()):
            # If the extra for traces is installed, redis-py 8.1 imports OpenTelemetry, which takes
            # half a second. redis-py works without it.
            sys.modules.setdefault("opentelemetry", None)  # type: ignore[arg-type]  # documented
