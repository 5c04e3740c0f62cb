"""The decoder's inner package imports only a fixed list of other modules of the service."""

import grimp

INSIDE = "worker.decoding.inside"
ALLOWED = {"shared.errors", "shared.facts", "shared.reasons"}
"""The only modules of the service, besides its own, that the decoder's inner package may import."""


def test_the_decoders_inside_imports_nothing_else_of_the_service() -> None:
    graph = grimp.build_graph("api", "worker", "shared", "deploy", cache_dir=None)
    inside = {INSIDE, *graph.find_descendants(INSIDE)}
    assert len(inside) > 10
    imported = {name for each in inside for name in graph.find_modules_directly_imported_by(each)}
    assert imported - inside == ALLOWED
