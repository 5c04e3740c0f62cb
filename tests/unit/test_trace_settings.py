"""The settings of traces, and which packages a process without traces imports."""

import subprocess
import sys

import pytest

from shared import traces
from shared.errors import SettingsError
from shared.settings import load_part
from shared.trace_settings import TraceSettings
from shared.trace_start import exported

URL = "http://collector:4318"


def settings(**given: str) -> TraceSettings:
    return load_part(TraceSettings, **given)


@pytest.mark.parametrize("url", [URL, f"{URL}/", f"{URL}/v1/traces"])
def test_spans_are_posted_to_the_path_of_the_protocol(url: str) -> None:
    assert settings(otlp_url=url).traces_url == f"{URL}/v1/traces"


def test_headers_are_read_as_opentelemetry_writes_them() -> None:
    found = settings(otlp_headers="x-api-key=a%2Cb, Authorization=Bearer%20abc==")
    assert found.collector_headers == {"x-api-key": "a,b", "Authorization": "Bearer abc=="}
    assert "abc" not in repr(found)
    assert settings(otlp_headers="").collector_headers == {}


@pytest.mark.parametrize("headers", ["secret", "=secret", "a b=secret", "a=secret%0d%0ab:c", "a="])
def test_headers_that_cannot_be_sent_are_refused_without_their_text(headers: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(otlp_headers=headers)
    rule = "must be headers as name=value, separated by commas"
    assert str(caught.value) == f"ATTACHMENTS_OTLP_HEADERS: {rule}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("otlp_url", "collector:4318"), ("otlp_url", f"{URL}?key=secret"), ("traces_ratio", "1.5")],
)
def test_other_faults_name_the_setting(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^ATTACHMENTS_{name.upper()}: ") as caught:
        settings(**{name: value})
    assert "secret" not in str(caught.value)


def test_a_missing_package_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    # Importing these modules now fails, as if the packages were not installed.
    for name in [each for each in sys.modules if each.startswith(("opentelemetry", "shared.ot"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(SettingsError) as caught, exported(settings(otlp_url=URL), "api"):
        pass
    line = str(caught.value)
    assert line.startswith("ATTACHMENTS_OTLP_URL: ")
    assert "make install EXTRAS=otel" in line
    assert "\n" not in line
    assert "opentelemetry" not in line


def test_without_the_setting_nothing_is_recorded() -> None:
    with exported(settings(), "api"):
        assert traces.recorder is None
        assert traces.current() is None
        assert traces.given() is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "modules", ["api.__main__", "worker.__main__, worker.app", "worker.queue.start", "deploy.cli"]
)
def test_a_process_without_traces_imports_no_package_of_them(modules: str) -> None:
    program = f"""
import sys
from shared.foreign import forget_foreign_variables
forget_foreign_variables()
import {modules}
from shared.settings import load_part
from shared.trace_settings import TraceSettings
from shared.trace_start import exported
with exported(load_part(TraceSettings), "api"):
    tops = (name.partition(".")[0] for name, module in sys.modules.items() if module is not None)
    print({{*tops}} & {{"opentelemetry", "requests", "google"}})
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.stdout == "set()\n", ended.stderr
