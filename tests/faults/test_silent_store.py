"""A store that accepts connections and does not answer: an outage like any other."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.faults import PHOTO, SOON, changed, reaches
from tests.support.health import asked, becomes_ready
from tests.support.log_lines import Line, named, objects
from tests.support.metric_values import value_of
from tests.support.proxy import Link, Proxy
from tests.support.scraping import shown
from tests.support.service import Service, until
from tests.support.service_processes import ApiProcess, ServiceProcess, WorkerProcess, client_of
from tests.support.starting import Launch

pytestmark = pytest.mark.fault

LOST, BACK = "store is unavailable", "store is back"
NO_ANSWER = "no answer in time"

SHORT = "import api.files\napi.files.ASK_WITHIN_S = 0.5"
"""Code for an API that waits only half a second for the store before it answers a file's link.

Without such a limit, the store's client would wait 20 s.
"""

ERRORS = "attachments_store_errors_total"


def outage_of(process: ServiceProcess) -> list[Line]:
    """Return all lines about the store's outage that a process has logged."""
    return [line for line in objects(process.log()) if line["event"] in (LOST, BACK)]


async def has_logged(process: ServiceProcess, event: str) -> list[Line]:
    """Wait until a process has logged an event, and return its lines.

    The timeouts of the store's client are longer than this wait, so they cannot cause the event.
    """
    found: list[Line] = await until(
        lambda: asyncio.sleep(0, named(process.log(), event)), within_s=20
    )
    return found


async def is_asked(process: ServiceProcess, answer: str) -> Any:
    """Request the health of a process until it shows `answer` for the store."""

    async def reports() -> bool:
        return bool((await asked(process))[1]["parts"].get("store") == answer)

    return await until(reports, within_s=30)


@pytest.mark.parametrize("kind", ["api", "worker"])
async def test_health_and_log_agree_on_a_store_that_does_not_answer(
    service: Service, launch: Launch, proxy: Proxy, kind: str
) -> None:
    make = ApiProcess if kind == "api" else WorkerProcess
    process = await launch(make(service.environment, s3_endpoint_url=proxy.url))
    await becomes_ready(process, kind)
    await is_asked(process, "ok")
    assert value_of(await shown(process), ERRORS) == 0
    proxy.hold()
    await is_asked(process, NO_ANSWER)
    (lost,) = await has_logged(process, LOST)
    assert (lost["level"], lost["error"]) == ("warning", NO_ANSWER)
    assert value_of(await shown(process), f'{ERRORS}{{verb="get",error="unavailable"}}') >= 1
    proxy.let_go()

    async def is_over() -> list[Line]:
        await asked(process)
        return named(process.log(), BACK)

    await until(is_over, within_s=30)
    assert [line["event"] for line in outage_of(process) if "lasts_s" not in line] == [LOST, BACK]


async def test_a_link_that_waits_in_vain_for_the_store_begins_an_outage(
    service: Service, launch: Launch, proxy: Proxy
) -> None:
    api = ApiProcess(service.environment, program=changed(SHORT, "api"), s3_endpoint_url=proxy.url)
    await launch(api)
    await becomes_ready(api, "api")
    client = client_of(service, api)
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await reaches(service, attachment_id, "uploaded")
    address = urlsplit((await client.show(attachment_id))["attributes"]["url"])
    proxy.hold()
    async with client.session.get(f"{api.url}{address.path}?{address.query}") as answer:
        assert answer.status == 503
    (lost,) = await has_logged(api, LOST)
    assert lost["error"] == NO_ANSWER
    assert value_of(await shown(api), f'{ERRORS}{{verb="head",error="unavailable"}}') == 1


async def test_a_thumbnail_that_the_store_does_not_take_in_time_begins_an_outage(
    service: Service, launch: Launch, proxy: Proxy
) -> None:
    worker = await launch(
        WorkerProcess(service.environment, s3_endpoint_url=proxy.url, lease="2", **SOON)
    )
    await becomes_ready(worker, "worker")
    lost: set[Link] = set()

    def is_write(link: Link, data: bytes) -> bool:
        if data.startswith(b"PUT"):
            lost.add(link)
        return link in lost

    proxy.lose(is_write)
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    assert (await has_logged(worker, LOST))[0]["error"] == NO_ANSWER
    assert value_of(await shown(worker), f'{ERRORS}{{verb="put",error="unavailable"}}') >= 1
    proxy.let_go()
    await reaches(service, attachment_id, "ready")
