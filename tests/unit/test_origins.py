"""Origins of web pages: their form in the setting, and the `Origin` headers that are allowed."""

import pytest

from shared.origins import ANY_LOOPBACK, RULE, Origins
from tests.support.settings import faults_of, load_with


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("https://app.example", "https://app.example"),
        ("HTTPS://App.Example", "https://app.example"),
        ("https://app.example:443", "https://app.example"),
        ("http://app.example:80", "http://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("https://app.example:8443", "https://app.example:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[::1]:*", "http://[::1]:*"),
        ("http://LOCALHOST:*", "http://localhost:*"),
    ],
)
def test_an_origin_is_written_as_browsers_send_it(
    environment: pytest.MonkeyPatch, given: str, normal: str
) -> None:
    settings = load_with(environment, CORS_ORIGINS=f" {given} , https://other.example")

    assert settings.cors_origins == (normal, "https://other.example")


@pytest.mark.parametrize(
    "given",
    [
        "*",
        "null",
        "app.example",
        "//app.example",
        "https://",
        "https://*.example",
        "https://app.example:*",
        "https://localhost.example:*",
        "https://*:*",
        "https://app.example/",
        "https://app.example/path",
        "https://app.example?x",
        "https://user@app.example",
        "https://app.example:99999",
        "https://a b",
        "ftp://app.example",
        "file://",
        "https://app.example https://other.example",
    ],
)
def test_row104_a_setting_that_is_no_origin_is_a_fault(
    environment: pytest.MonkeyPatch, given: str
) -> None:
    assert faults_of(environment, CORS_ORIGINS=f"https://good.example,{given}") == [
        f"ATTACHMENTS_CORS_ORIGINS: {RULE}"
    ]


def test_without_the_setting_no_origin_is_allowed(environment: pytest.MonkeyPatch) -> None:
    settings = load_with(environment)

    assert not settings.origins
    assert not settings.origins.allow("https://app.example")
    assert not settings.origins.allow("")


ALLOWED = Origins(("https://app.example", "http://localhost:*", "https://[::1]:*"))


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example",
        "http://localhost",
        "http://localhost:5173",
        "http://localhost:65535",
        "https://[::1]:8443",
    ],
)
def test_an_origin_of_the_setting_is_allowed(origin: str) -> None:
    assert ALLOWED.allow(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "https://evil.example/https://app.example",
        "https://app.example ",
        "https://app.example\n",
        "https://APP.example",
        "https://sub.app.example",
        "https://localhost:5173",
        "http://localhost:5173.evil.example",
        "http://localhost.evil.example:80",
        "http://localhost:",
        "http://localhost:0",
        "http://localhost:65536",
        "http://localhost:*",
        "http://127.0.0.1:5173",
        "http://[::1]:8443",
        "null",
        "*",
        "",
    ],
)
def test_any_other_origin_is_not(origin: str) -> None:
    assert not ALLOWED.allow(origin)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_local_stack_allows_every_page_of_this_machine(scheme: str, host: str) -> None:
    origins = Origins(ANY_LOOPBACK)

    assert origins.allow(f"{scheme}://{host}")
    assert origins.allow(f"{scheme}://{host}:5173")
    assert not origins.allow(f"{scheme}://10.0.0.1:5173")
