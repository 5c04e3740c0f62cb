"""Decide which process runs which test files, and in which order."""

from collections.abc import Iterable
from itertools import groupby
from typing import Protocol, TypeVar

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # has no types

TOGETHER = (
    "tests/acceptance/local_stack/",
    "tests/acceptance/local_users/",
    "tests/integration/plans/",
    "tests/integration/sqs/",
)
"""Folders whose tests share a server or a database, because its start takes long.

One process runs all tests of a folder.
"""

SECONDS = {
    "tests/integration/sqs/": 294,
    "tests/acceptance/local_stack/": 210,
    "tests/acceptance/test_hostile_files.py": 165,
    "tests/integration/plans/": 161,
    "tests/faults/test_outage_lines.py": 144,
    "tests/acceptance/test_up_anywhere.py": 140,
    "tests/acceptance/test_up.py": 134,
    "tests/faults/test_container_limits.py": 118,
    "tests/faults/test_balancers.py": 96,
    "tests/faults/test_deliveries.py": 92,
    "tests/faults/test_workers.py": 90,
    "tests/faults/test_memory.py": 83,
    "tests/integration/test_any_described_request.py": 81,
    "tests/integration/any_event/test_any_body.py": 76,
    "tests/faults/test_store.py": 75,
    "tests/faults/test_floods.py": 72,
    "tests/integration/test_ending_credentials.py": 70,
    "tests/faults/test_shared_broker.py": 64,
    "tests/integration/test_http_versions.py": 61,
    "tests/integration/bucket_owner/test_two_deployments.py": 60,
    "tests/integration/test_erasure.py": 55,
    "tests/faults/test_database_lost.py": 55,
    "tests/acceptance/local_users/": 55,
    "tests/faults/test_readiness.py": 54,
    "tests/integration/copies/test_worker_copies.py": 53,
    "tests/faults/test_collectors.py": 52,
    "tests/acceptance/test_doctor_processes.py": 52,
    "tests/acceptance/test_doctor_leftovers.py": 51,
    "tests/unit/test_decoder_limits.py": 51,
    "tests/faults/test_broker_stuck.py": 47,
    "tests/integration/test_pgbouncer.py": 46,
    "tests/acceptance/test_doctor_deletion.py": 46,
    "tests/acceptance/test_make_install.py": 44,
    "tests/faults/test_store_refusals.py": 43,
    "tests/faults/test_database_stuck.py": 43,
    "tests/integration/tokens/test_token_changes.py": 41,
    "tests/acceptance/test_up_with_queue.py": 39,
    "tests/integration/copies/test_patched_copies.py": 39,
    "tests/faults/test_decoders.py": 38,
    "tests/integration/test_ids_of_buckets.py": 37,
    "tests/faults/test_machine.py": 37,
    "tests/faults/test_shared_limits.py": 36,
    "tests/faults/test_silent_store.py": 36,
    "tests/integration/noise/test_log_floods.py": 34,
    "tests/integration/copies/test_copies_in_parts.py": 34,
    "tests/acceptance/test_examples.py": 34,
    "tests/unit/test_idle_decoders.py": 34,
    "tests/faults/test_api.py": 34,
    "tests/integration/scanning/test_scanned_uploads.py": 34,
    "tests/acceptance/test_bad_files.py": 33,
}
"""The time that the longest files and folders need, in seconds: their waiting time, and three times
their CPU time with that of all processes that they start, because six processes share two cores.

Only the order of the values matters. A file that is not in the table needs less time.
"""

COMPUTING = "tests/unit/"
"""The folder of the tests that mostly compute. Other tests mostly wait for servers."""


class Collected(Protocol):
    """A collected test, such as `pytest.Item`."""

    @property
    def nodeid(self) -> str:
        """Return the test's file and name, with `::` between them."""
        ...


T = TypeVar("T", bound=Collected)


def unit_of(nodeid: str) -> str:
    """Return the unit that a test belongs to: a folder of `TOGETHER`, or a file.

    One process runs all tests of a unit.
    """
    file = nodeid.partition("::")[0]
    return next((folder for folder in TOGETHER if file.startswith(folder)), file)


class UnitScheduling(LoadScopeScheduling):  # type: ignore[misc]  # its base has no types
    """Gives a process its next unit shortly before the process finishes its current unit."""

    def _split_scope(self, nodeid: str) -> str:
        # `_split_scope` is private in pytest-xdist, whose own schedulers override this method.
        return unit_of(nodeid)


def in_order(items: Iterable[T]) -> list[T]:
    """Return all tests, with the longest units first.

    Units that mostly compute are mixed evenly with the others, so that the cores are always busy.
    The shortest units run last, so that all processes end at nearly the same time.
    """
    units = [
        (unit, list(found)) for unit, found in groupby(items, lambda each: unit_of(each.nodeid))
    ]
    units.sort(key=lambda each: -SECONDS.get(each[0], 0))
    parts = (
        [found for unit, found in units if not unit.startswith(COMPUTING)],
        [found for unit, found in units if unit.startswith(COMPUTING)],
    )
    placed = [(number / len(part), found) for part in parts for number, found in enumerate(part)]
    placed.sort(key=lambda each: each[0])
    return [item for _, found in placed for item in found]
