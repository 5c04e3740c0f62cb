"""The code that reads hostile bytes may import only certain other modules of the service."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "worker", "shared", "deploy")

INSIDE = "worker.decoding.inside"
ALLOWED = {"shared.errors", "shared.facts", "shared.reasons"}
"""The decoder's inner package may import only these other modules of the service."""

NAMING_ALLOWED = {
    "shared.content_types",
    "shared.reserved",
    "worker.decoding.formats",
    "worker.packing",
    "worker.sniffing.protocol",
    "worker.sniffing.ranges",
    "worker.sniffing.raws",
}
"""The modules that find a file's type may import these modules of the service, and one another.

They may import no other module of the service.
"""

BOTH_SIDES = {
    "dimensions",
    "jxl_size",
    "process",
    "protocol",
    "ranges",
    "raws",
    "signatures",
    "sniffer",
    "svg_size",
    "tiff_tags",
}
"""The modules of `worker.sniffing` that the worker's own process loads, outside the sandbox.

They read a file's bytes only in simple ways: `signatures` compares the first 16 bytes.
`dimensions`, `raws` and `tiff_tags` read numbers at offsets, in loops of bounded length. `svg_size`
searches the head for one tag, by patterns of bounded length.
"""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Return the graph of imports of all packages."""
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def imports_of(graph: grimp.ImportGraph, modules: set[str]) -> set[str]:
    """Return the modules of the service that `modules` import, without `modules` themselves."""
    found = {name for each in modules for name in graph.find_modules_directly_imported_by(each)}
    return found - modules


def test_the_decoders_inside_imports_nothing_else_of_the_service(graph: grimp.ImportGraph) -> None:
    inside = {INSIDE, *graph.find_descendants(INSIDE)}
    assert len(inside) > 10
    assert imports_of(graph, inside) == ALLOWED


def test_the_modules_that_name_types_import_nothing_else_of_the_service(
    graph: grimp.ImportGraph,
) -> None:
    assert imports_of(graph, naming_modules()) == NAMING_ALLOWED


def test_every_module_of_sniffing_is_on_a_known_side_of_the_sandbox(
    graph: grimp.ImportGraph,
) -> None:
    here = {name.rpartition(".")[2] for name in graph.find_descendants("worker.sniffing")}
    inside = {name.rpartition(".")[2] for name in naming_modules()}
    assert here == inside | BOTH_SIDES | {"child"}


@pytest.mark.slow
@pytest.mark.parametrize("module", ["api.app", "worker.app", "worker.queue.start"])
def test_a_process_with_credentials_loads_no_code_that_reads_files(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert module in loaded, done.stderr
    readers = {"PIL", "pypdfium2", "pillow_heif", "pylibmagic", "magic"}
    assert not {name for name in loaded if name.partition(".")[0] in readers}
    assert not {name for name in loaded if name.startswith(INSIDE)} | loaded & naming_modules()


def naming_modules() -> set[str]:
    """Return the modules that find a file's type and that only the sandboxed process may load."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts: list[dict[str, Any]] = project["tool"]["importlinter"]["contracts"]
    (found,) = [
        each["protected_modules"]
        for each in contracts
        if "worker.sniffing.identify" in each.get("protected_modules", ())
    ]
    return set(found)
