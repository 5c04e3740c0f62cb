"""`attachments up` when events also come from an SQS queue."""

from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock

from tests.support.moto_server import CREDENTIALS, REGION, Moto
from tests.support.service import until
from tests.support.up import NAMES, running


async def test_a_consumer_runs_beside_the_others_with_the_operators_own_keys(
    tmp_path: Path, moto: Moto
) -> None:
    inbox = await moto.make_inbox()
    settings = {"ATTACHMENTS_SQS_QUEUE_URL": inbox.url, "AWS_DEFAULT_REGION": REGION}
    with running(tmp_path / "data", "--decoders", "1", **settings, **CREDENTIALS) as up:
        pids = up.document()["pids"]
        assert set(pids) == {*NAMES, "consume"}
        consumer = psutil.Process(pids["consume"])
        assert consumer.environ()["AWS_ACCESS_KEY_ID"] == CREDENTIALS["AWS_ACCESS_KEY_ID"]
        await inbox.send("{}")
        await until(inbox.is_empty, within_s=30)
        consumer.kill()

        async def started_again() -> bool:
            return bool(up.document()["pids"]["consume"] != pids["consume"])

        await until(started_again, within_s=15)


async def test_a_queue_that_is_away_is_no_reason_not_to_be_up(tmp_path: Path) -> None:
    settings = {"ATTACHMENTS_SQS_QUEUE_URL": "http://127.0.0.1:9/1/nowhere"}
    with running(tmp_path / "data", "--decoders", "1", **settings, **CREDENTIALS) as up:
        assert psutil.pid_exists(up.document()["pids"]["consume"])
