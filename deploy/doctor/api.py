"""Check that the API answers at its address and accepts events with the token in the settings."""

import aiohttp

from deploy.client.network_faults import fault_of
from deploy.doctor.examination import Examination, Verdict, failed, ok


async def check_api(examination: Examination) -> Verdict:
    """Check that the API is alive and ready."""
    url = examination.api_url
    for question in ("live", "ready"):
        try:
            async with examination.http.get(
                f"{url}/health/{question}", allow_redirects=False
            ) as answer:
                status, body = answer.status, await answer.content.read(1000)
        except (aiohttp.ClientError, OSError) as error:
            return failed(
                f"no API at {url}: {fault_of(error)}",
                "start `attachments api`; ATTACHMENTS_API_URL must be the address that leads to"
                " it, else the doctor uses ATTACHMENTS_API_HOST and ATTACHMENTS_API_PORT",
            )
        if status == 503 and b"reconcile --mend" in body:
            return failed(
                f"the API at {url} creates no attachments: ids are taken in the bucket",
                "run `attachments reconcile --mend`; the API notices it within seconds",
            )
        if status == 503 and question == "ready":
            return failed(
                f"the API at {url} is alive, but cannot reach the database",
                "check that its ATTACHMENTS_DATABASE_URL is the one of here, and read its log",
            )
        if status != 200 or b'"status"' not in body:
            return failed(
                f"{url}/health/{question} answers {status}, not as our API does",
                "check that ATTACHMENTS_API_URL leads to the API, with nothing else on its port",
            )
    return ok(f"alive and ready at {url}")


async def find_intake_fault(examination: Examination) -> str | None:
    """Return why the API does not accept events from the store; None if it accepts them.

    The check posts the test event that S3 itself sends. This event changes nothing.
    """
    url = f"{examination.api_url}/events/s3"
    tokens = examination.settings.events_tokens
    if not tokens:
        return "ATTACHMENTS_EVENTS_TOKENS is not set, so the API takes no event over HTTP"
    event = {"Service": "Amazon S3", "Event": "s3:TestEvent"}
    headers = {"Authorization": f"Bearer {tokens[0].get_secret_value()}"}
    try:
        async with examination.http.post(
            url, json=event, headers=headers, allow_redirects=False
        ) as answer:
            if answer.status == 401:
                return f"{url} does not take the token of ATTACHMENTS_EVENTS_TOKENS"
            if answer.status >= 300:
                return f"{url} answers {answer.status} to an event"
    except (aiohttp.ClientError, OSError) as error:
        return f"{url} takes no event: {fault_of(error)}"
    return None
