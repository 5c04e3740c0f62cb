"""Query plans: in a table of a million rows, every statement uses an index."""

import inspect
from types import ModuleType

import pytest

from shared import (
    attachments,
    backlog,
    copies,
    copy_claims,
    dead_letters,
    due,
    idempotency,
    lifecycle,
    lists,
    new_attachments,
    older_objects,
    organizations,
    overview,
    reconciliation,
    renewing,
    sequence,
    settling,
    tokens,
)
from shared.webhooks import deliveries, dispatch
from tests.support.explaining import Explaining
from tests.support.planned_filter_calls import FILTER_CALLS
from tests.support.planned_operator_calls import OPERATOR_CALLS
from tests.support.planned_processing_calls import PROCESSING_CALLS
from tests.support.planned_request_calls import REQUEST_CALLS
from tests.support.planned_webhook_calls import WEBHOOK_CALLS

CALLS = {
    **REQUEST_CALLS,
    **FILTER_CALLS,
    **PROCESSING_CALLS,
    **OPERATOR_CALLS,
    **WEBHOOK_CALLS,
}

MODULES: tuple[ModuleType, ...] = (
    attachments,
    new_attachments,
    lists,
    copies,
    copy_claims,
    lifecycle,
    due,
    organizations,
    tokens,
    dead_letters,
    older_objects,
    reconciliation,
    sequence,
    overview,
    backlog,
    idempotency,
    settling,
    renewing,
    deliveries,
    dispatch,
)

COMPOSED = {
    "older_objects.delete_own",
    "sequence.find_taken_id",
    "sequence.keep_clear",
    "sequence.mend_sequence",
}
"""Functions that execute no SQL statement themselves, but call functions that are in CALLS."""


@pytest.mark.parametrize("name", CALLS)
async def test_a_statement_never_scans_the_table(connection: Explaining, name: str) -> None:
    call, answers = CALLS[name]
    found = await call(connection)
    assert answers(found), found
    assert connection.explained > 0


@pytest.mark.parametrize("name", [each for each in CALLS if each.startswith("idempotency.")])
async def test_row103_each_of_many_keys_is_found_and_removed_by_an_index(
    connection: Explaining, name: str
) -> None:
    call, answers = CALLS[name]
    assert answers(await call(connection))
    by = "idempotency_keys_by_age" if name.endswith("prune") else "idempotency_keys_pkey"
    assert any(each.endswith(f"on idempotency_keys by {by}") for each in connection.walked)


async def test_a_scan_of_the_table_would_be_noticed(connection: Explaining) -> None:
    with pytest.raises(AssertionError, match="Seq Scan"):
        await connection.fetch("SELECT id FROM attachments WHERE name = $1", "other")
    with pytest.raises(AssertionError, match="Seq Scan"):
        await connection.execute("UPDATE tokens SET name = $1 WHERE name = $2", "a", "b")
    with pytest.raises(AssertionError, match="Seq Scan"):
        await connection.fetch("SELECT made FROM idempotency_keys WHERE fingerprint = $1", b"f")
    with pytest.raises(AssertionError, match="Seq Scan"):
        await connection.fetch("SELECT id FROM webhook_deliveries WHERE event = $1", "other")


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_no_statement_is_left_out(module: ModuleType) -> None:
    short = module.__name__.rpartition(".")[2]
    functions = {
        f"{short}.{name}"
        for name, function in vars(module).items()
        if inspect.iscoroutinefunction(function)
        and function.__module__ == module.__name__
        and not name.startswith("_")
    }
    assert functions
    assert functions - COMPOSED <= {name.partition(" ")[0] for name in CALLS}
