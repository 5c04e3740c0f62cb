"""Tests of the contract: times are shown in the time zone of the settings."""

from datetime import datetime

import pytest

from tests.support.starting import StartService


@pytest.mark.parametrize(
    ("zone", "moment", "shown"),
    [
        pytest.param(
            "UTC", "2026-04-17T04:02:48.589999+00:00", "2026-04-17T04:02:48.589+00:00", id="UTC"
        ),
        pytest.param(
            "Europe/Berlin",
            "2026-04-17T04:02:48.589+00:00",
            "2026-04-17T06:02:48.589+02:00",
            id="Berlin in summer",
        ),
        pytest.param(
            "Europe/Berlin",
            "2026-01-17T04:02:48+00:00",
            "2026-01-17T05:02:48.000+01:00",
            id="Berlin in winter",
        ),
        pytest.param(
            "Europe/Berlin",
            "2026-10-25T00:30:00+00:00",
            "2026-10-25T02:30:00.000+02:00",
            id="the hour that comes twice, first",
        ),
        pytest.param(
            "Europe/Berlin",
            "2026-10-25T01:30:00+00:00",
            "2026-10-25T02:30:00.000+01:00",
            id="the hour that comes twice, again",
        ),
        pytest.param(
            "Asia/Kolkata",
            "2026-04-17T04:02:48.5+00:00",
            "2026-04-17T09:32:48.500+05:30",
            id="half an hour",
        ),
    ],
)
async def test_times_are_shown_in_the_zone_that_is_set(
    start_service: StartService, zone: str, moment: str, shown: str
) -> None:
    service = await start_service(time_zone=zone)
    created = (await service.client.create())["data"]
    await service.execute(
        "UPDATE attachments SET created_at = $2, processed_at = $2 WHERE id = $1",
        int(created["id"]),
        datetime.fromisoformat(moment),
    )

    resource = await service.client.show(created["id"])

    assert resource["attributes"]["created_at"] == shown
    assert resource["meta"]["processed_at"] == shown


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
async def test_the_end_of_a_policy_is_shown_in_the_zone_too(
    start_service: StartService, zone: str
) -> None:
    service = await start_service(time_zone=zone)

    created = await service.client.create()

    row = await service.row(created["data"]["id"])
    offset = datetime.fromisoformat(created["meta"]["expires_at"]).utcoffset()
    assert datetime.fromisoformat(created["meta"]["expires_at"]) == row.policy_expires_at
    assert offset == row.policy_expires_at.astimezone(service.settings.zone).utcoffset()
