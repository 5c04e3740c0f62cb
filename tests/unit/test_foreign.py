"""A process removes environment variables that would change the behaviour of libraries."""

import os
import subprocess
import sys

import pytest

from shared.broker import make_celery
from shared.foreign import counts, forget_foreign_variables

OTHER = "redis://127.0.0.1:9/5"


@pytest.mark.parametrize(
    "name",
    [
        "ATTACHMENTS_BROKER_URL",
        "attachments_broker_url",
        "AWS_PROFILE",
        "AWS_ENDPOINT_URL_S3",
        "AWS_CA_BUNDLE",
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "NO_PROXY",
        "no_proxy",
        "PATH",
        "HOME",
        "LC_ALL",
        "PYTHONPATH",
        "LD_LIBRARY_PATH",
        "SSL_CERT_FILE",
    ],
)
def test_relevant_keys_are_kept(name: str) -> None:
    environment = {name: "x"}
    forget_foreign_variables(environment)
    assert environment == {name: "x"}


@pytest.mark.parametrize(
    "name",
    [
        "CELERY_BROKER_URL",
        "CELERY_LOADER",
        "C_FORCE_ROOT",
        "KOMBU_LOG_DEBUG",
        "REMAP_SIGTERM",
        "PGHOST",
        "PGSSLMODE",
        "PGPASSFILE",
        "PGOPTIONS",
        "PGSERVICE",
        "REDIS_URL",
        "DJANGO_SETTINGS_MODULE",
        "FORKED_BY_MULTIPROCESSING",
        "PICKLE_PROTOCOL",
        "TZ",
        "NETRC",
        "REQUESTS_CA_BUNDLE",
        "BOTO_CONFIG",
        "SSLKEYLOGFILE",
        "HOSTALIASES",
        "RES_OPTIONS",
        "MAGIC",
        "PYTHONASYNCIODEBUG",
        "PYTHONTZPATH",
        "ALL_PROXY",
        "Http_Proxy",
        "DATABASE_URL",
        "AIOHTTP_NO_EXTENSIONS",
        "a-name-that-nobody-knows",
    ],
)
def test_irrelevant_keys_are_forgotten(name: str) -> None:
    assert not counts(name)
    environment = {name: "x", "PATH": "/bin"}
    forget_foreign_variables(environment)
    assert environment == {"PATH": "/bin"}


def test_a_link_to_a_service_of_kubernetes_is_no_port_of_ours() -> None:
    environment = {
        "ATTACHMENTS_API_PORT": "tcp://10.3.240.1:8000",
        "ATTACHMENTS_METRICS_PORT": "9090",
    }
    forget_foreign_variables(environment)
    assert environment == {"ATTACHMENTS_METRICS_PORT": "9090"}


@pytest.mark.slow
@pytest.mark.parametrize("module", ["api", "worker", "deploy.cli"])
def test_a_process_forgets_before_libraries_are_imported(module: str) -> None:
    # When one of these libraries is imported, this program prints which of PGHOST and
    # CELERY_BROKER_URL still exist.
    watch = """
import os, runpy, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("celery", "kombu", "asyncpg", "aiohttp", "botocore"):
            print(name, sorted({"PGHOST", "CELERY_BROKER_URL"} & set(os.environ)), flush=True)
sys.meta_path.insert(0, Watch())
sys.argv = ["attachments", "worker"]
runpy.run_module(MODULE, run_name="__main__")
"""
    ended = subprocess.run(
        [sys.executable, "-c", watch.replace("MODULE", repr(module))],
        env={"PATH": os.environ["PATH"], "PGHOST": "x", "CELERY_BROKER_URL": OTHER},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "is not set" in ended.stderr, ended.stderr
    found = ended.stdout.splitlines()
    # The process has ended because settings are missing. The API imports libraries before it reads
    # its settings. Other processes import them afterwards, so these processes may print nothing.
    assert found or module != "api"
    assert [line for line in found if not line.endswith("[]")] == []


@pytest.mark.parametrize(
    "name", ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"]
)
def test_celery_ignores_its_own_variables_and_uses_our_broker(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, OTHER)
    monkeypatch.setenv("CELERY_RESULT_BACKEND", OTHER)
    monkeypatch.setenv("CELERY_LOADER", "no.such:Loader")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "no.such.settings")

    app = make_celery("redis://127.0.0.1:6379/2")

    for connection in (app.connection_for_read(), app.connection_for_write(), app.connection()):
        assert connection.as_uri().endswith("@127.0.0.1:6379/2")
    assert type(app.backend).__name__ == "DisabledBackend"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "port"),
    [
        pytest.param({"ATTACHMENTS_API_PORT": "tcp://10.3.240.1:8000"}, "8000", id="a link"),
        pytest.param({"attachments_api_port": "1"}, "1", id="lower case"),
    ],
)
def test_the_health_check_of_the_image_reads_variables_as_the_api_does(
    environment: dict[str, str], port: str
) -> None:
    # No process listens at this loopback address. So the command fails and prints the address.
    given = {"PATH": os.environ["PATH"], "ATTACHMENTS_API_HOST": "127.9.8.7", **environment}
    asked = subprocess.run(
        [sys.executable, "-m", "deploy.health"],
        env=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert f"no answer at 127.9.8.7 port {port}: Connection" in asked.stderr
