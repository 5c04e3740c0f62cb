"""No text of the project tells a user to install the project by its name.

On the public index, this name could belong to another person's package.
"""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from deploy.embedded.server_process import missing
from shared.errors import SettingsError
from worker.decoding.formats import check_decoders

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SHIPPED = [
    path
    for folder in ("api", "worker", "shared", "deploy")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".md", ".yaml", ".example")
]
BY_NAME = re.compile(
    r"\b(?:pip[0-9.]*|pipx|uvx?|uv pip|poetry|conda|easy_install) (?:install|add|run)\b"
    rf"|\battachments\[(?:{'|'.join(PROJECT['optional-dependencies'])})"
    rf"|{PROJECT['name']}"
)


def test_the_name_is_not_the_strangers_and_the_index_refuses_it() -> None:
    assert PROJECT["name"] != "attachments"
    assert "Private :: Do Not Upload" in PROJECT["classifiers"]
    assert set(PROJECT["scripts"]) == {"attachments"}


def test_no_line_has_anything_installed_by_its_name() -> None:
    paths = (*ROOT.glob("*.md"), *SHIPPED)
    found = {path: BY_NAME.findall(path.read_text()) for path in paths}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("name", "package"), [("heic", "pillow_heif"), ("jxl", "imagecodecs"), ("video", "av")]
)
def test_a_missing_decoder_is_reported_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    # Importing this package now fails, as if it were not installed.
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingsError) as caught:
        check_decoders([name])
    printed = str(caught.value)
    assert f"make install EXTRAS={name}" in printed
    assert names_no_distribution(printed)
    assert f"ARG {name.upper()}=false" in (ROOT / "deploy/Dockerfile").read_text()
    assert f"`make install EXTRAS={name}`" in (ROOT / "deploy/docs/settings.md").read_text()


def test_a_missing_server_is_reported_without_the_name_of_a_package() -> None:
    printed = str(missing("Valkey", "ATTACHMENTS_BROKER_URL"))
    assert "make install" in printed
    assert "ATTACHMENTS_BROKER_URL" in printed
    assert names_no_distribution(printed)


def names_no_distribution(message: str) -> bool:
    """Return True if a message contains neither this project's name nor a package of its extras."""
    extras = [each for extra in PROJECT["optional-dependencies"].values() for each in extra]
    names = [re.split(r"[^A-Za-z0-9-]", each)[0] for each in extras]
    return not any(re.search(rf"\b{name}\b", message) for name in (PROJECT["name"], *names))
