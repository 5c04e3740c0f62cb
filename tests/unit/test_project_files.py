"""The configuration of tools and the texts for new developers agree with the project."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # the locks include no stubs for this package

from shared.version import VERSION

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def target(name: str) -> list[str]:
    """Return the commands of a Makefile target, with the Makefile's variables replaced by their
    values.
    """
    makefile = (ROOT / "Makefile").read_text()
    values = dict(re.findall(r"^([A-Z]+) := (.*)$", makefile, re.MULTILINE))
    (lines,) = re.findall(rf"^{name}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    return [
        re.sub(r"\$\((\w+)\)", lambda m: values[m[1]], line.strip()) for line in lines.splitlines()
    ]


def test_pre_commit_runs_the_commands_of_make_lint() -> None:
    config: Any = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    assert hooks == target("lint")


def test_the_workflow_runs_the_ci_commands_with_actions_pinned_by_commit() -> None:
    jobs: Any = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert [step["run"] for step in steps if ".ci/run" in step.get("run", "")] == [".ci/run"]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", each)] == []


def test_the_workflow_tests_the_oldest_python_that_is_allowed() -> None:
    jobs: Any = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    versions = jobs["check-and-test"]["strategy"]["matrix"]["python"]
    assert f">={versions[0]}" == PROJECT["requires-python"]


def test_the_licence_is_named_once_and_its_text_is_there() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert not [each for each in PROJECT["classifiers"] if each.startswith("License ::")]
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


def test_the_changelog_has_a_dated_section_for_this_version_and_no_line_twice() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## \[([^]]+)\](?: - (\d{4}-\d\d-\d\d))?$", changelog, re.MULTILINE)
    assert [name for name, _ in sections[:2]] == ["Unreleased", VERSION]
    assert all(date for _, date in sections[1:])
    lines = [line for line in changelog.splitlines() if line.startswith("- ")]
    assert len(lines) == len(set(lines))


def test_the_guide_for_contributors_names_every_target_and_tests_that_are_there() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", guide)) == targets
    for block in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL):
        for line in block.splitlines():
            for word in shlex.split(line, comments=True):
                if word.startswith("tests/"):
                    assert (ROOT / word).exists(), word
