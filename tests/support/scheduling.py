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
    "tests/integration/sqs/": 162,
    "tests/acceptance/local_stack/": 143,
    "tests/integration/test_erasure.py": 103,
    "tests/acceptance/test_up_anywhere.py": 97,
    "tests/acceptance/test_hostile_files.py": 92,
    "tests/faults/test_outage_lines.py": 84,
    "tests/acceptance/test_up.py": 79,
    "tests/unit/test_dependencies.py": 69,
    "tests/acceptance/test_hostile_output.py": 69,
    "tests/unit/test_tiff_layouts.py": 66,
    "tests/unit/test_damaged_images.py": 60,
    "tests/faults/test_container_limits.py": 59,
    "tests/integration/plans/": 54,
    "tests/faults/test_deliveries.py": 52,
    "tests/integration/test_ids_of_buckets.py": 50,
    "tests/unit/test_cli_settings.py": 49,
    "tests/acceptance/test_make_install.py": 49,
    "tests/unit/test_idle_decoders.py": 41,
    "tests/faults/test_decoders.py": 41,
    "tests/faults/test_api.py": 41,
    "tests/integration/any_event/test_any_body.py": 40,
    "tests/acceptance/test_retry_command.py": 40,
    "tests/faults/test_balancers.py": 40,
    "tests/integration/test_json_lines.py": 40,
    "tests/faults/test_floods.py": 39,
    "tests/faults/test_memory.py": 39,
    "tests/faults/test_workers.py": 38,
    "tests/unit/test_sniffed_texts.py": 38,
    "tests/integration/test_any_described_request.py": 37,
    "tests/faults/test_store.py": 36,
    "tests/acceptance/test_doctor_leftovers.py": 36,
    "tests/acceptance/test_up_with_queue.py": 34,
    "tests/integration/bad_events/test_large_messages.py": 33,
    "tests/integration/copies/test_patched_copies.py": 32,
    "tests/integration/copies/test_worker_copies.py": 32,
    "tests/faults/test_readiness.py": 30,
    "tests/faults/test_log_readers.py": 30,
    "tests/integration/test_pgbouncer.py": 30,
    "tests/faults/test_shared_broker.py": 30,
    "tests/unit/test_sniffer.py": 30,
    "tests/acceptance/test_doctor_processes.py": 30,
    "tests/unit/test_more_formats.py": 29,
    "tests/faults/test_shared_limits.py": 28,
    "tests/faults/test_database_lost.py": 28,
    "tests/integration/bucket_owner/test_two_deployments.py": 28,
    "tests/faults/test_broker_stuck.py": 27,
    "tests/integration/test_ending_credentials.py": 27,
    "tests/acceptance/test_reconcile_command.py": 27,
    "tests/integration/test_webhook_routes.py": 26,
    "tests/unit/test_trace_settings.py": 26,
    "tests/faults/test_events.py": 26,
    "tests/integration/scanning/test_scanned_uploads.py": 25,
    "tests/unit/test_colour_spaces.py": 25,
    "tests/faults/test_collectors.py": 25,
}
"""The seconds that the slowest test files and folders take, measured in six processes on two cores.

Only the order of these times matters. A file that is not listed takes less time.
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
