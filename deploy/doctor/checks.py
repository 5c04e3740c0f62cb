"""The list of the doctor's checks, and the loop that runs them."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from deploy.commands.environment import read_settings
from deploy.doctor.api import check_api
from deploy.doctor.broker import check_broker, check_eviction, check_persistence, check_worker
from deploy.doctor.clocks import check_clocks
from deploy.doctor.database import check_database, check_schema
from deploy.doctor.deletion import check_deletion
from deploy.doctor.examination import Examination, Status, Verdict, failed, ok, skipped
from deploy.doctor.owner import check_owner
from deploy.doctor.posting import GRANT, MAY_NOT, check_cors, check_upload, draw
from deploy.doctor.processing import check_event, check_links, check_thumbnail
from deploy.doctor.removal import remove_probes
from deploy.doctor.rights import check_rights
from deploy.doctor.scanner import check_scanner
from deploy.doctor.seal import check_seal
from deploy.doctor.sequence import check_sequence
from deploy.doctor.store import check_store
from shared import log
from shared.database import DatabaseAway, DatabaseForbids
from shared.errors import AttachmentsError, SettingsError
from shared.settings import Settings

REQUEST_TIMEOUT_S = 10.0
AGAIN = "run the doctor once more"
LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Check:
    """One check. It is skipped if a check in `needs` has failed or was skipped.

    A check may take LIMIT_S seconds and, if `waits` is true, the operator's `--wait` in addition.
    """

    name: str
    carry_out: Callable[[Examination], Awaitable[Verdict]]
    needs: tuple[str, ...] = ()
    waits: bool = False


CHECKS = (
    Check("database", check_database),
    Check("schema", check_schema, needs=("database",)),
    Check("broker", check_broker),
    Check("persistence", check_persistence, needs=("broker",)),
    Check("eviction", check_eviction, needs=("broker",)),
    Check("rights", check_rights, needs=("broker", "schema")),
    Check("worker", check_worker, needs=("broker",)),
    Check("seal", check_seal),
    Check("scanner", check_scanner, waits=True),
    Check("store", check_store),
    Check("deletion", check_deletion, needs=("store",)),
    Check("owner", check_owner, needs=("schema", "store")),
    Check("sequence", check_sequence, needs=("schema", "store")),
    Check("clocks", check_clocks),
    Check("api", check_api),
    Check("upload", check_upload, needs=("schema", "store", "owner", "sequence")),
    Check("cors", check_cors, needs=("upload",)),
    Check("event", check_event, needs=("upload",), waits=True),
    Check("thumbnail", check_thumbnail, needs=("upload",), waits=True),
    Check("links", check_links, needs=("upload", "api")),
)
REMOVAL = Check("removal", remove_probes)
"""The last check. It removes what the other checks have created, and always runs."""

OnCheck = Callable[[str], None]


def run_doctor(
    data_dir: Path, *, origin: str | None, wait_s: float, on_check: OnCheck
) -> dict[str, Verdict]:
    """Run all checks; return the verdicts by the checks' names, in order.

    `on_check` is called with each check's name before the check. After a first signal to stop, no
    further check runs, but the probe is removed. After a second signal, the doctor ends
    immediately.
    """
    try:
        settings = read_settings(data_dir)
    except SettingsError as error:
        rest = skipped("needs settings, which failed")
        verdicts = {check.name: rest for check in (*CHECKS, REMOVAL)}
        verdict = failed(str(error), "correct them: deploy/docs/settings.md")
        return {"settings": verdict, **verdicts}
    log.configure_logging("error", settings.log_format)

    async def run() -> dict[str, Verdict]:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await diagnose(settings, origin=origin, wait_s=wait_s, on_check=on_check)

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def diagnose(
    settings: Settings, *, origin: str | None, wait_s: float, on_check: OnCheck
) -> dict[str, Verdict]:
    """Run all checks except the check of the settings. If cancelled, remove the probe and stop."""
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    async with AsyncExitStack() as exits:
        http = await exits.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        examination = Examination(
            settings=settings, origin=origin, wait_s=wait_s, http=http, exits=exits, content=draw()
        )
        verdicts = examination.verdicts
        verdicts["settings"] = ok("can be read")
        try:
            for check in CHECKS:
                on_check(check.name)
                verdicts[check.name] = await _carry_out(check, examination)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            # The task was cancelled, but the last check must still run to its end. That check has a
            # time limit.
            task.uncancel()
            stopped, *left = CHECKS[len(verdicts) - 1 :]
            verdicts[stopped.name] = failed("the doctor received a signal to stop", AGAIN)
            for check in left:
                verdicts[check.name] = skipped("the doctor received a signal to stop")
        on_check(REMOVAL.name)
        verdicts[REMOVAL.name] = await _carry_out(REMOVAL, examination)
        return verdicts


async def _carry_out(check: Check, examination: Examination) -> Verdict:
    for name in check.needs:
        if not examination.works(name):
            status = examination.verdicts[name].status
            return skipped(f"needs {name}, which {_ENDED[status]}")
    limit_s = LIMIT_S + (examination.wait_s if check.waits else 0)
    try:
        async with asyncio.timeout(limit_s):
            return await check.carry_out(examination)
    except TimeoutError:
        return failed(
            f"not finished within {limit_s:.0f} s",
            "check whether it is overloaded, or a firewall drops its packets",
        )
    except DatabaseForbids:
        return failed(MAY_NOT, GRANT)
    except DatabaseAway as error:
        if error.refusal is not None and error.refusal.code[:2] not in ("", "08", "57"):
            return failed(f"the database refuses: {error.refusal.cause}", error.refusal.mend)
        return failed(f"the connection to the database was lost ({error})", AGAIN)
    except AttachmentsError as error:
        return failed(
            f"the connection was lost during the check ({type(error).__name__}: {error})", AGAIN
        )
    except Exception as error:
        return failed(f"the check itself failed ({type(error).__name__})", "report it as a bug")


_ENDED = {Status.FAILED: "failed", Status.SKIPPED: "was skipped"}
