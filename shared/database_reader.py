"""Read the parameters of a PostgreSQL address, and decide what each of them changes.

`shared.database_words` lists the parameters; `shared.database_address` builds the address.
"""

from collections.abc import Callable, Mapping
from typing import Any

from shared.database_words import (
    CACHES,
    CHOICES,
    EXEC_MODES,
    FALSE,
    FILES,
    IGNORED,
    MEANINGLESS,
    MODES,
    PASSED,
    REFUSED,
    SOCKET_OPTIONS,
    TRUE,
    is_number,
    split_options,
)


class Reader:
    """Reads the parameters of an address one by one, and collects their effects in its fields.

    Raises ValueError for a parameter that is refused or has an invalid value. The message names the
    parameter and does not contain the value.
    """

    def __init__(self) -> None:
        self.query: dict[str, str] = {}
        self.arguments: dict[str, Any] = {}
        self.settings: dict[str, str] = {}
        self.unsure: dict[str, str] = {}
        self.ignored: list[str] = []
        self.options: dict[str, int] = {}
        self.timeout_s: float | None = None
        self.pooled = False
        self.cache: int | None = None
        self.hostaddr = self.ssl = ""
        self.strict = False
        self._special: Mapping[str, Callable[[str], None]] = {
            "host": lambda value: self._keep("host", value),
            "port": self._port,
            "hostaddr": self._take_hostaddr,
            "connect_timeout": self._connect_timeout,
            "connecttimeout": self._connect_timeout,
            "logintimeout": self._connect_timeout,
            "application_name": lambda value: self._set("application_name", value),
            "applicationname": lambda value: self._set("application_name", value),
            "options": self._read_options,
            "servicefile": self._servicefile,
            "ssl": self._take_ssl,
            "requiressl": self._take_ssl,
            "sslaccept": self._sslaccept,
            "pgbouncer": self._pgbouncer,
            "default_query_exec_mode": self._exec_mode,
            "schema": self._schema,
            "currentschema": lambda value: self._set("search_path", value),
            "keepalives": self._keepalives,
            "tcpkeepalive": self._keepalives,
        }

    def read(self, word: str, value: str) -> None:
        """Read one parameter. Raises ValueError if it is refused or its value is invalid."""
        name = word.lower()
        if name in MEANINGLESS:
            harmless = MEANINGLESS[name]
            if harmless is None or value.lower() in harmless or value == "":
                return
        if name in REFUSED:
            if value != "":
                raise ValueError(f"asks for {name}, which is not supported: {REFUSED[name]}")
        elif name in self._special:
            self._special[name](value)
        elif name in CHOICES:
            self._choose(name, value)
        elif name in PASSED or name in FILES:
            self._keep(name, value)
        elif name in CACHES:
            self._cache_size(name, value)
        elif name in SOCKET_OPTIONS:
            self._socket_option(name, value)
        elif name in IGNORED or name in MEANINGLESS:
            self.ignored.append(word)
        elif value != "":
            self.unsure[word] = value

    # --- words that are passed on -------------------------------------------------------------

    def _keep(self, name: str, value: str) -> None:
        if value != "":
            self.query[name] = value

    def _choose(self, name: str, value: str) -> None:
        if value == "":
            return
        if value not in CHOICES[name]:
            raise ValueError(f"has a {name} that is not one of {', '.join(CHOICES[name])}")
        self.query[name] = value

    def _port(self, value: str) -> None:
        ports = value.split(",") if value else []
        if not all(is_number(port) and 0 < int(port) < 65536 for port in ports):
            raise ValueError("has a port that is not a number from 1 to 65535")
        self._keep("port", value)

    def _take_hostaddr(self, value: str) -> None:
        self.hostaddr = value

    def _servicefile(self, value: str) -> None:
        if value:
            self.arguments["servicefile"] = value

    # --- words that are translated ------------------------------------------------------------

    def _set(self, name: str, value: str) -> None:
        if value != "":
            self.settings[name] = value

    def _connect_timeout(self, value: str) -> None:
        try:
            seconds = float(value or 0)
        except ValueError:
            seconds = float("nan")
        if not -1e9 < seconds < 1e9:
            raise ValueError("has a connect_timeout that is not a number of seconds")
        if seconds > 0:  # 0 and below mean no limit
            self.timeout_s = seconds

    def _read_options(self, value: str) -> None:
        """Read `-c name=value` and `--name=value` as settings. Other options are sent unchanged."""
        found = split_options(value)
        if found is None:
            self.settings["options"] = value
        else:
            self.settings.update(found)

    def _take_ssl(self, value: str) -> None:
        """Read `ssl` with the meaning that JDBC and SQLAlchemy give it."""
        mode = "require" if value.lower() in TRUE else value
        if mode not in MODES:
            raise ValueError(f"has an ssl that is not one of true, {', '.join(MODES)}")
        self.ssl = self.ssl or mode

    def _sslaccept(self, value: str) -> None:
        if value != "strict":
            raise ValueError("has an sslaccept that is not strict or accept_invalid_certs")
        self.strict = True

    def _pgbouncer(self, value: str) -> None:
        if value.lower() not in TRUE | FALSE:
            raise ValueError("has a pgbouncer that is not true or false")
        self.pooled = self.pooled or value.lower() in TRUE

    def _cache_size(self, name: str, value: str) -> None:
        lowered = value.lower()
        if lowered in FALSE:
            self.pooled = True
        elif lowered in TRUE:
            return
        elif not is_number(value):
            raise ValueError(f"has a {name} that is not a number")
        elif name in ("statement_cache_size", "prepared_statement_cache_size"):
            self.cache = int(value)

    def _exec_mode(self, value: str) -> None:
        self.pooled = self.pooled or value in EXEC_MODES

    def _schema(self, value: str) -> None:
        """Set search_path to one schema, as Prisma does. The name is quoted to keep its case."""
        escaped = value.replace('"', '""')
        self._set("search_path", f'"{escaped}"' if value else "")

    def _keepalives(self, value: str) -> None:
        self.options["keepalives"] = int(value.lower() in TRUE)

    def _socket_option(self, name: str, value: str) -> None:
        if value and not is_number(value):
            raise ValueError(f"has a {name} that is not a number")
        if value and int(value) > 0:  # 0 means the system's default
            self.options[name] = int(value)
