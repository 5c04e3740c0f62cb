"""The layout of the code: names and lengths of files, and the `__init__.py` files of packages."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "worker", "shared", "deploy")
PAGE = ROOT / "deploy/docs/architecture.md"

MAX_LINES = 300
LONG = {
    # The changelog grows with each release.
    "CHANGELOG.md",
    # All SQL statements that change an attachment's state are here, so that one can compare them.
    "shared/lifecycle.py",
}
"""Files that may be longer than the limit."""

SHORT = {
    # This file only opens, runs and stops the worker's parts. Their code belongs in other modules.
    "worker/runtime.py": 200,
}
"""Files that must have fewer lines than the given number."""

FACES = {"shared/notifications/__init__.py"}
"""`__init__.py` files that may import or assign names. All others have only a docstring."""

GIVEN = {"__init__.py", "__main__.py", "conftest.py"}
"""File names that have a meaning for Python or pytest."""


def files() -> list[Path]:
    """Return the paths of the code's files relative to the project, without migrations."""
    return [
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if "migrations" not in path.parts
    ]


def test_two_files_share_a_name_only_if_the_architecture_lists_them() -> None:
    found: dict[str, set[str]] = {}
    for path in files():
        if path.name != "__init__.py":
            found.setdefault(path.name, set()).add(path.parent.as_posix())
    section = PAGE.read_text("utf-8").split("### Files with one name")[1].split("\n### ")[0]
    rows = re.findall(r"^\| `(\w+\.py)` \| ([^|]+) \| [^|]+ \|$", section, re.MULTILINE)
    sent = {name: set(re.findall(r"`([^`]+)`", places)) for name, places in rows}
    assert {name: places for name, places in found.items() if len(places) > 1} == sent


def test_the_map_names_every_module_and_nothing_that_is_not_there() -> None:
    page = PAGE.read_text("utf-8")
    section = page.split("### Which file answers which question")[1].split("\n### ")[0]
    folders = "|".join(PACKAGES)
    listed = set(re.findall(rf"`((?:{folders})/[^` ]+)`", section))
    assert [each for each in listed if not any(ROOT.glob(each))] == []
    # A pattern without a prefix or suffix is not allowed, because it would match every module of
    # its folder.
    assert not [each for each in listed if re.fullmatch(rf"(?:{folders})/\*(\.py)?", each)]
    named = {path.relative_to(ROOT) for each in listed for path in ROOT.glob(each)}
    modules = {path for path in files() if path.name != "__init__.py"}
    inside = {path for path in modules if path.parent in named}
    assert modules - named - inside == set()


def test_no_two_files_of_the_tests_have_one_name() -> None:
    found: dict[str, list[str]] = {}
    for path in (ROOT / "tests").rglob("*.py"):
        if path.name not in GIVEN:
            found.setdefault(path.name, []).append(path.relative_to(ROOT).as_posix())
    assert len(found) > 200
    assert [places for places in found.values() if len(places) > 1] == []


def test_no_file_is_longer_than_can_be_read_at_once() -> None:
    paths = {
        *(ROOT / path for path in files()),
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "deploy/docs").rglob("*.md"),
        *(ROOT / "deploy/examples").iterdir(),
        *(ROOT / "api/browser").iterdir(),
        *(path for path in (ROOT / "deploy").iterdir() if path.is_file()),
        *ROOT.glob("*.md"),
        *(ROOT / name for name in ("Makefile", "pyproject.toml")),
    }
    assert len(paths) > 800
    long = {
        path.relative_to(ROOT).as_posix()
        for path in paths
        if len(path.read_text("utf-8").splitlines()) > MAX_LINES
    }
    assert long == LONG


def test_the_loop_of_a_worker_stays_short() -> None:
    for name, lines in SHORT.items():
        assert len((ROOT / name).read_text("utf-8").splitlines()) < lines, name


def test_the_face_of_a_package_holds_no_code() -> None:
    faces = [path for path in files() if path.name == "__init__.py"]
    assert len(faces) > 5
    for path in faces:
        for node in ast.parse((ROOT / path).read_text("utf-8")).body:
            is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            gives_names = isinstance(node, ast.ImportFrom | ast.Assign)
            assert is_text or (gives_names and path.as_posix() in FACES), path


def test_only_shared_names_tables() -> None:
    migrations = (ROOT / "shared/migrations/versions").glob("*.py")
    made = re.findall(r"CREATE TABLE (\w+)", "".join(path.read_text() for path in migrations))
    assert "attachments" in made
    tables = "|".join([*made, "alembic_version"])
    statement = re.compile(rf"\b(?:FROM|INTO|JOIN|UPDATE|TABLE|TRUNCATE) (?:{tables})\b")
    found = [
        path.as_posix() for path in files() if statement.search((ROOT / path).read_text("utf-8"))
    ]
    assert len(found) > 10
    assert [path for path in found if not path.startswith("shared/")] == []


def test_no_module_imports_itself_through_others() -> None:
    # Imports inside functions and under TYPE_CHECKING also count.
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert sum(map(len, imports.values())) > 500
    TopologicalSorter(imports).prepare()  # raises CycleError, which lists the cycle
