"""The scripts for web pages, which the API serves at GET /client/{name}."""

import json
import shutil
import subprocess

import pytest

from api.client_files import FOLDER, NAMES
from shared.version import VERSION
from tests.support.resources import NOT_FOUND, is_error
from tests.support.service import Service

TSC = shutil.which("tsc")

ANONYMOUS = {"X-Auth-Token": "", "X-Organization-Id": ""}


@pytest.mark.parametrize("name", NAMES)
async def test_pages_of_every_origin_may_import_a_script(service: Service, name: str) -> None:
    answer = await service.client.request("GET", f"/client/{name}", headers=ANONYMOUS)

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.body == (FOLDER / name).read_bytes()


async def test_a_script_is_compressed_and_not_sent_twice(service: Service) -> None:
    path = f"/client/{NAMES[0]}"
    zipped = await service.client.request(
        "GET", path, headers={**ANONYMOUS, "Accept-Encoding": "gzip"}
    )
    tag = zipped.headers["ETag"]
    known = await service.client.request("GET", path, headers={**ANONYMOUS, "If-None-Match": tag})

    assert zipped.headers["Content-Encoding"] == "gzip"
    assert zipped.headers["Vary"] == "Accept-Encoding"
    assert zipped.body == (FOLDER / NAMES[0]).read_bytes()
    assert known.status == 304
    assert known.body == b""


@pytest.mark.parametrize("name", ["package.json", "..%2Fapp.py", "attachments.js.map", "x"])
async def test_no_other_file_is_served(service: Service, name: str) -> None:
    answer = await service.client.request("GET", f"/client/{name}", headers=ANONYMOUS)

    assert is_error(answer, NOT_FOUND)


MODULES = ("attachments", "attachment-retries")
"""The files that a page needs to upload without the element."""


def test_the_module_is_small_and_the_package_is_complete() -> None:
    package = json.loads((FOLDER / "package.json").read_text())

    assert sum((FOLDER / f"{each}.js").stat().st_size for each in MODULES) <= 12_500
    assert package["version"] == VERSION
    assert sorted(package["files"]) == sorted(NAMES)
    assert "dependencies" not in package


@pytest.mark.skipif(TSC is None, reason="tsc is missing: install node-typescript")
def test_the_types_of_the_scripts_are_right() -> None:
    assert TSC is not None
    run = subprocess.run([TSC, "-p", FOLDER], capture_output=True, text=True, check=False)

    assert run.stdout == ""
    assert run.returncode == 0
