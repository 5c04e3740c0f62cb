"""Remove environment variables that are not meant for the service.

Libraries read dozens of variables, some at import. CELERY_BROKER_URL moves a worker to another
broker, PGSSLMODE changes how PostgreSQL is reached, HOSTALIASES renames hosts. So a process removes
every variable that is not on the list here before it imports those libraries. The list has the
variables that are kept, because a list of those to remove would have to follow each release of each
library. `deploy/docs/aws.md` lists the kept variables for operators.
"""

import os
import sys
import time
from collections.abc import MutableMapping

OURS = ("ATTACHMENTS_", "AWS_")
"""The prefixes of the service's settings, and of the variables of botocore."""

PROXIES = frozenset({"http_proxy", "https_proxy", "no_proxy"})
"""botocore reads these in lower and in upper case."""

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
"""Variables that describe the machine and the terminal, and no service."""

MACHINE_PREFIXES = ("LC_", "XDG_", "LD_", "DYLD_", "PYTHON")

SERVICE_LINKS = ("tcp://", "udp://", "sctp://")
"""The beginnings of the value that Kubernetes gives to ATTACHMENTS_API_PORT if a Service has the
name `attachments-api`.

Source: Kubernetes documentation, "Service", environment variables.
"""

REFUSED = frozenset({"PYTHONASYNCIODEBUG", "PYTHONINSPECT", "PYTHONTZPATH", "PYTHONBREAKPOINT"})
"""Variables that Python reads long after its start and that would change how the service runs."""


TRACES = "ATTACHMENTS_OTLP_URL"
"""The setting that turns traces on, in upper case."""


def counts(name: str) -> bool:
    """Return whether a variable of this name is kept, and so may affect the service."""
    if name in REFUSED:
        return False
    return (
        name.startswith((*OURS, *MACHINE_PREFIXES))
        or name.upper().startswith(OURS[0])  # settings are read in any case
        or name in MACHINE
        # http_proxy and HTTP_PROXY; programs do not use a mixture of both
        or (name.lower() in PROXIES and (name.islower() or name.isupper()))
    )


def forget_foreign_variables(environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove every variable that is not kept, and the links to Kubernetes Services.

    Where traces are off, this process cannot import OpenTelemetry afterwards.

    May be repeated. Call it first in a process of the service, before other libraries are imported.
    Never call it from code that another program may import.
    """
    for name, value in list(environment.items()):
        if not counts(name) or (name.endswith("_PORT") and value.startswith(SERVICE_LINKS)):
            del environment[name]
    if environment is os.environ:
        time.tzset()  # TZ may be among the removed ones, and the C library has read it already
        if not any(name.upper() == TRACES and value for name, value in environment.items()):
            # Where the extra for traces is installed, redis-py 8.1 imports OpenTelemetry with
            # itself, which takes half a second. redis-py works without that package.
            sys.modules.setdefault("opentelemetry", None)  # type: ignore[arg-type]  # documented
