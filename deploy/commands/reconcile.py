"""`attachments reconcile`: list differences between rows and bucket, and mend some of them."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.commands.environment import Unusable, note, with_database
from deploy.commands.options import LOCAL, DataDir, Json

if TYPE_CHECKING:
    from shared.database import Database
    from shared.differences import Difference
    from shared.part_settings import ReconcileSettings
    from shared.reconciliation import Reconciliation

Mend = Annotated[bool, typer.Option("--mend", help="Mend what can be mended; deletes no object.")]

MEANINGS = {
    "original_without_row": "original without a row",
    "thumbnail_without_row": "thumbnail that no row names",
    "older_than_row_unused": "object older than its row; the row does not use it",
    "older_than_row": "object older than its row; the row uses it",
    "object_changed": "object that its row does not describe",
    "object_missing": "row whose object is missing",
    "thumbnail_missing": "row whose thumbnail is missing",
    "ids_above_sequence": "ids above the sequence, up to this one",
    "bucket_of_another_deployment": "the marker in the bucket names another deployment",
    "bucket_without_owner": "the bucket has no marker, and originals that no row describes",
    "row_names_another_bucket": "row that names another bucket; its object is in this one",
    "ids_near_lost_rows": "rows were lost, up to this id or higher: new ids must be far higher",
}


def reconcile(mend: Mend = False, as_json: Json = False, data_dir: DataDir = LOCAL) -> None:
    """List differences between rows and bucket; with --mend, mend those that can be mended.

    May be repeated, and may run while the service runs. The exit status is 0 if no difference is
    left, otherwise 1.
    """
    from shared.errors import StoreRefused, StoreUnavailable
    from shared.part_settings import ReconcileSettings

    async def work(database: "Database", settings: ReconcileSettings) -> bool:
        try:
            return await _reconcile(database, settings, mend=mend, as_json=as_json)
        except StoreRefused as error:
            raise Unusable(
                f"the store refuses us ({error}): s3:ListBucket on bucket {settings.s3_bucket} and"
                " s3:GetObject are needed"
            ) from error
        except StoreUnavailable as error:
            where = settings.store.url
            raise Unusable(f"the store at {where} is away ({error}); run it again") from error

    raise typer.Exit(0 if with_database(data_dir, ReconcileSettings, work) else 1)


async def _reconcile(
    database: "Database", settings: "ReconcileSettings", *, mend: bool, as_json: bool
) -> bool:
    """Find, mend and print the differences; return True if no difference is left."""
    from shared.database import DatabaseForbids
    from shared.deployment import find_prefix
    from shared.publisher import Publisher
    from shared.reconciliation import Reconciliation
    from shared.store_client import open_storage

    counts: Counter[tuple[str, bool]] = Counter()
    prefix = await find_prefix(database, settings)
    publisher = Publisher(settings.broker_url.get_secret_value(), prefix)
    try:
        async with open_storage(settings) as storage:
            with _progress() as on_progress:
                found = Reconciliation(database, storage, settings, on_progress)
                show = _JsonLines() if as_json else _TextLines(mend=mend)
                async for difference in found.differences():
                    if mend:
                        difference, woken = await found.mend(difference)
                        for wake_up in woken:
                            publisher.publish(wake_up)
                    counts[difference.kind.value, difference.mended] += 1
                    show.difference(difference)
    except DatabaseForbids:
        raise Unusable(
            "the user of ATTACHMENTS_DATABASE_URL needs SELECT and UPDATE on the sequence of"
            " attachments.id, and SELECT and INSERT on the table deployment"
        ) from None
    finally:
        publisher.close()
    left = sum(count for (_, mended), count in counts.items() if not mended)
    show.end(found, counts, left)
    if publisher.dropped:
        note(publisher.left_to_sweep)
    return left == 0


def _describe(difference: "Difference") -> dict[str, Any]:
    found, row = difference.found, difference.row
    return {
        "kind": difference.kind.value,
        "id": difference.attachment_id,
        "key": difference.key,
        "size": found.size if found else None,
        "age_seconds": found.age_s if found else None,
        "state": row.state if row else None,
        "mended": difference.mended,
    }


class _TextLines:
    """Prints one line for each difference, as soon as it is found."""

    def __init__(self, *, mend: bool) -> None:
        self._mend = mend

    def difference(self, difference: "Difference") -> None:
        """Print one difference."""
        from deploy.commands.output import plain

        shown = _describe(difference)
        details = [] if shown["id"] is None else [f"id {shown['id']}"]
        details += [] if shown["key"] is None else [plain(shown["key"])]
        details += [] if shown["size"] is None else [f"{shown['size']} bytes"]
        details += [] if shown["age_seconds"] is None else [f"{shown['age_seconds']:.0f} s old"]
        details += [] if shown["state"] is None else [f"row is {shown['state']}"]
        done = "mended" if difference.mended else "left as it is" if self._mend else "found"
        print(f"{done}: {MEANINGS[shown['kind']]}: {', '.join(details)}")

    def end(self, found: "Reconciliation", counts: "Counter[tuple[str, bool]]", left: int) -> None:
        """Print the numbers of objects, rows and differences."""
        mended = sum(counts.values()) - left
        print(
            f"{found.objects} objects and {found.rows} rows: {sum(counts.values())} differences,"
            f" {mended} mended, {left} left"
        )


class _JsonLines:
    """Prints one JSON document piece by piece, so that it need not fit into memory."""

    def __init__(self) -> None:
        self._first = True
        print('{"differences": [', end="")

    def difference(self, difference: "Difference") -> None:
        """Print one difference as an item of the list."""
        import json

        print(("" if self._first else ",") + "\n  " + json.dumps(_describe(difference)), end="")
        self._first = False

    def end(self, found: "Reconciliation", counts: "Counter[tuple[str, bool]]", left: int) -> None:
        """Print the numbers of objects, rows and differences, and end the document."""
        import json

        summary = {
            "objects": found.objects,
            "rows": found.rows,
            "found": sum(counts.values()),
            "left": left,
            "kinds": {
                kind: {
                    "found": counts[kind, False] + counts[kind, True],
                    "left": counts[kind, False],
                }
                for kind in sorted({kind for kind, _ in counts})
            },
        }
        print(f'\n], "summary": {json.dumps(summary)}}}')


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """On a terminal, show how many objects and rows have been examined so far."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda _objects, _rows: None
        return
    with console.status("listing the bucket") as shown:
        yield lambda objects, rows: shown.update(f"{objects} objects, {rows} rows")
