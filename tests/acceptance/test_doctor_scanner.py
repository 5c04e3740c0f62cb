"""`attachments doctor` tries the scanner, and reports what clamd does with files above
its limits.
"""

from pathlib import Path

import pytest

from deploy.doctor.eicar import EICAR, MIN_SIZE, large
from tests.support.clamd import EICAR_NAME, need_clamd, running_clamd
from tests.support.doctor import environment, examine
from tests.support.faults import closed_port
from tests.support.service import Service
from tests.support.starting import StartService, StartWorker

need_clamd()

LIMIT = "1000000"


async def found_with(service: Service, clamd_url: str) -> tuple[str, str, str]:
    """Run the doctor with a scanner.

    Return the status, the finding and the advice of the scanner's check.
    """
    examined = await examine(
        {
            **environment(service),
            "ATTACHMENTS_CLAMD_URL": clamd_url,
            "ATTACHMENTS_SCAN_MAX_SIZE": LIMIT,
            "ATTACHMENTS_SCAN_TIMEOUT": "20",
        }
    )
    verdict = examined["scanner"]
    return verdict["status"], verdict["found"], verdict["mend"] or ""


@pytest.mark.parametrize(
    ("limits", "status", "found", "mend"),
    [
        pytest.param({"AlertExceedsMax": "yes"}, "ok", "at the end of", "", id="good"),
        pytest.param({}, "warning", "clean what exceeds", "AlertExceedsMax", id="silent"),
        pytest.param(
            {"MaxFileSize": "500K"}, "failed", "clean that has EICAR", "MaxFileSize", id="smaller"
        ),
        pytest.param(
            {"MaxScanSize": "1500K"}, "failed", "clean that has EICAR", "MaxScanSize", id="archive"
        ),
        pytest.param(
            {"MaxFileSize": "500K", "AlertExceedsMax": "yes"},
            "warning",
            "Heuristics.Limits.Exceeded",
            "MaxFileSize",
            id="alerts",
        ),
        pytest.param(
            {"StreamMaxLength": "500K"}, "warning", "StreamMaxLength", "StreamMax", id="shorter"
        ),
    ],
)
async def test_row110_the_doctor_says_what_clamd_does_above_its_limits(
    working: Service, tmp_path: Path, limits: dict[str, str], status: str, found: str, mend: str
) -> None:
    async with running_clamd(tmp_path, **limits) as clamd:
        verdict = await found_with(working, clamd.url)
    assert verdict[0] == status
    assert found in verdict[1]
    assert mend in verdict[2]
    assert clamd.url in verdict[1]


async def test_a_clamd_without_signatures_of_eicar_is_a_failure(
    working: Service, tmp_path: Path
) -> None:
    async with running_clamd(tmp_path) as clamd:
        await clamd.kill()
        await clamd.start(eicar=False)
        status, found, mend = await found_with(working, clamd.url)
    assert status == "failed"
    assert "calls the EICAR test file clean" in found
    assert "freshclam" in mend


async def test_a_scanner_that_is_away_is_a_failure(working: Service) -> None:
    url = f"tcp://127.0.0.1:{closed_port()}"
    status, found, mend = await found_with(working, url)
    assert status == "failed"
    assert found.startswith(f"{url}: clamd cannot be connected to")
    assert "clamd.conf" in mend


async def test_the_doctor_is_healthy_beside_a_service_that_scans(
    tmp_path: Path, start_service: StartService, start_worker: StartWorker
) -> None:
    async with running_clamd(tmp_path, AlertExceedsMax="yes") as clamd:
        service = await start_service(clamd_url=clamd.url, scan_max_size=LIMIT)
        await start_worker(service)
        examined = await examine(environment(service))
    assert examined["scanner"]["status"] == "ok"
    assert EICAR_NAME in examined["scanner"]["found"]
    assert examined["thumbnail"]["status"] == examined["links"]["status"] == "ok"


@pytest.mark.parametrize("size", [MIN_SIZE, 5000, 512 * 1000, 1_000_001])
async def test_the_large_file_has_its_size_and_eicar_at_its_end(size: int) -> None:
    content = b"".join([piece async for piece in large(size)])
    assert size - 512 < len(content) <= size
    assert content.rindex(EICAR) > size - 2048
    assert content.count(EICAR) == 1
