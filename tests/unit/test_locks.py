"""Each lock file pins the packages that its users need, with hashes.

All lock files pin the same versions.
"""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = {
    path.stem: dict(re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE))
    for path in FOLDER.glob("*.lock")
}

OPTIONAL = sorted(PROJECT["optional-dependencies"].keys() - {"dev", "embedded"})


def names(requirements: list[str]) -> set[str]:
    """Return the package names in some requirements."""
    return {re.split(r"[^A-Za-z0-9-]", each)[0] for each in requirements}


@pytest.mark.parametrize("name", sorted(PINS))
def test_each_package_is_pinned_by_hashes_and_no_index_is_named(name: str) -> None:
    text = (FOLDER / f"{name}.lock").read_text()
    requirements = re.sub(r"\\\n", " ", text).splitlines()
    assert len(requirements) == len(PINS[name])
    assert all("--hash=sha256:" in each for each in requirements)
    assert "://" not in text
    assert "index" not in text.replace("jsonschema", "")


def test_all_locks_pin_the_same_versions() -> None:
    for pins in PINS.values():
        shared = pins.keys() & PINS["dev"].keys()
        assert {each: pins[each] for each in shared} == {each: PINS["dev"][each] for each in shared}


def test_running_installs_its_packages_and_none_of_the_tests() -> None:
    extras = PROJECT["optional-dependencies"]
    needed = names(PROJECT["dependencies"]) | names(extras["embedded"])
    assert needed <= PINS["up"].keys()
    assert PINS["runtime"].keys() <= PINS["up"].keys() <= PINS["dev"].keys()
    # Not only the tests need these packages: aiohttp requires multidict, and PostgreSQL's wheel
    # requires psutil.
    also_needed = {"multidict", "psutil"}
    only_tests = names(extras["dev"]).union(*(names(extras[each]) for each in OPTIONAL))
    assert only_tests & PINS["up"].keys() == also_needed


@pytest.mark.parametrize("extra", OPTIONAL)
def test_an_extra_and_development_contain_their_packages(extra: str) -> None:
    extras = PROJECT["optional-dependencies"]
    assert names(extras[extra]) <= PINS[extra].keys() <= PINS["dev"].keys()
    assert names(extras["dev"]) <= PINS["dev"].keys()


def test_packages_that_only_a_benchmark_peer_needs_are_in_no_other_lock() -> None:
    needed = {"fastapi", "httptools", "psycopg", "psycopg-binary", "pyvips", "uvicorn"}
    assert needed <= PINS["bench"].keys()
    others = set[str]().union(*(pins for name, pins in PINS.items() if name != "bench"))
    assert needed & others == set()
