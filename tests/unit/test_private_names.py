"""Each private name that a test uses is in a table with the reason."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PUBLIC = {"_exit", "_replace"}
"""Public names that begin with an underscore (see `os._exit` and `collections.namedtuple`)."""

PRIVATE = {
    "_SSL_CONTEXT_VERIFIED": "aiohttp makes it when it is imported, and has no way to replace it",
    "_ask": "inherited: a proxy of the tests answers otherwise than its base class",
    "_by_hand": "answers to requests that cannot be parsed pass through nothing else",
    "_cached_build_middleware": "aiohttp keeps each API of the tests alive in this cache",
    "_call": "a call of the broker that no server answers takes its place",
    "_causes": "the bound of memory cannot be seen from outside",
    "_channel": "closing it is how a decoder sees that its worker is gone",
    "_children": "the number of processes must be right after each end",
    "_client": "the store itself, without what the service does on top of it",
    "_connection": "asyncpg's own connection, without the wrapper that counts statements",
    "_control": "closing it is how the server sees that its worker is gone",
    "_cpu_s": "the state of a decoder before a job, which no public call leaves behind",
    "_documentation": "prometheus-client has no public way to read it",
    "_getdecoder": "the one place where Pillow makes decoders",
    "_identities": "inherited: a store of the tests with other identities",
    "_idle": "processes that wait for a file have no public name",
    "_kept": "the time of renewal is not waited for",
    "_labelnames": "prometheus-client has no public way to read it",
    "_limit": "aiohttp takes the limit of a connector only when it is made",
    "_name": "prometheus-client has no public way to read it",
    "_parse_connect_dsn_and_args": "how asyncpg reads an address without connecting",
    "_pools": "decoders of one kind are reached through it alone",
    "_process": "its end is waited for",
    "_rested_s": "the state of a decoder before a job, which no public call leaves behind",
    "_script": "without a broker there is none to load",
    "_server": "the process of the server, which is closed from outside",
    "_session": "a storage of the tests is made from the parts of a real one",
    "_size": "an image that claims a size and has no pixels",
    "_spares": "a decoder that lies takes the place of a real one",
    "_timeout_s": "shortened for one file, so that a hang is seen soon",
    "_transport": "the socket of a connection of asyncpg",
    "_upper_bounds": "prometheus-client has no public way to read it",
    "_warned": "what is logged once a process is logged anew",
    "_zygote": "the process that forks, which is waited for",
}
"""The private names that tests use, each with its reason."""


def private_names(tree: ast.AST) -> Iterator[str]:
    """Yield the private names that a module uses from other objects and modules."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name) if is_private(name):
                yield name
            case ast.ImportFrom(names=names):
                yield from (each.name for each in names if is_private(each.name))
            case ast.Call(func=ast.Attribute(attr="setattr" | "object"), args=arguments):
                for argument in arguments:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        name = argument.value.rpartition(".")[2]
                        if is_private(name):
                            yield name


def is_private(name: str) -> bool:
    """Return True if a name begins with exactly one underscore and is not public."""
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


@pytest.mark.slow
def test_each_private_name_that_a_test_uses_has_its_reason() -> None:
    used = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in private_names(ast.parse(path.read_text("utf-8")))
    }
    assert used == PRIVATE.keys()
