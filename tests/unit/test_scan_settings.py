"""Settings of the scanner: addresses of clamd, and values that are refused."""

import pytest

from shared.scan_settings import ClamdAddress, parse_clamd_url
from tests.support.settings import faults_of, load_with


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("tcp://clamd", ClamdAddress(host="clamd", port=3310)),
        ("tcp://clamd/", ClamdAddress(host="clamd", port=3310)),
        ("tcp://10.0.0.7:3311", ClamdAddress(host="10.0.0.7", port=3311)),
        ("tcp://[fd00::7]:3311", ClamdAddress(host="fd00::7", port=3311)),
        ("tcp://[::1]", ClamdAddress(host="::1", port=3310)),
        ("unix:///run/clamav/clamd.ctl", ClamdAddress(path="/run/clamav/clamd.ctl")),
        ("unix:///run/a%20b", ClamdAddress(path="/run/a b")),
    ],
)
def test_an_address_of_clamd_is_read(url: str, address: ClamdAddress) -> None:
    assert parse_clamd_url(url) == address


def test_an_address_is_shown_as_it_is_written() -> None:
    for url in ("tcp://clamd:3310", "tcp://[fd00::7]:3311", "unix:///run/clamd.ctl"):
        assert str(parse_clamd_url(url)) == url


@pytest.mark.parametrize(
    "url",
    [
        "clamd:3310",
        "http://clamd:3310",
        "tcp://",
        "tcp://:3310",
        "tcp://clamd:0",
        "tcp://clamd:99999",
        "tcp://clamd:x",
        "tcp://user:hunter2@clamd",
        "tcp://clamd/path",
        "tcp://clamd?a=b",
        "tcp://clamd#a",
        "tcp://cla md",
        "tcp://a,b",
        "unix://",
        "unix:///",
        "unix://host/run/clamd",
        "unix:///run/%00",
        "unix:///run?x",
        "tcp://[::1",
    ],
)
def test_row113_a_bad_address_of_clamd_is_refused_without_its_value(
    environment: pytest.MonkeyPatch, url: str
) -> None:
    assert faults_of(environment, CLAMD_URL=url) == [
        "ATTACHMENTS_CLAMD_URL: must be tcp://host, tcp://host:port or unix:///path"
    ]


def test_no_address_means_no_scanner(environment: pytest.MonkeyPatch) -> None:
    assert load_with(environment).clamd is None
    environment.setenv("ATTACHMENTS_CLAMD_URL", "")
    assert load_with(environment).clamd is None


def test_a_scanner_is_refused_together_with_the_public_mode(
    environment: pytest.MonkeyPatch,
) -> None:
    public = {"FILES_PUBLIC": "true", "FILES_URL": "https://files.example"}
    assert load_with(environment, **public).files_public
    assert faults_of(environment, CLAMD_URL="tcp://clamd", **public) == [
        "ATTACHMENTS_FILES_PUBLIC: is true, so no file would wait for the scan by"
        " ATTACHMENTS_CLAMD_URL"
    ]
