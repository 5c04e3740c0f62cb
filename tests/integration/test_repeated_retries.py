"""Idempotency-Key in requests that retry deliveries of webhooks."""

from tests.support.receiver import PATH as WEBHOOKS
from tests.support.receiver import SETTINGS
from tests.support.starting import StartService


async def test_a_repeated_retry_of_deliveries_sends_nothing_again(
    start_service: StartService,
) -> None:
    service = await start_service(**SETTINGS)
    client = service.client
    target = {"target_url": "https://receiver.example/hook"}
    document = {"data": {"type": "webhooks", "attributes": target}}
    made = await client.request("POST", WEBHOOKS, document)
    place = f"{WEBHOOKS}/{made.data['id']}"
    delivery = (await client.request("POST", f"{place}/test")).data["id"]
    since = {"since": "2020-01-01T00:00:00Z"}
    all_failed = {"data": {"type": "webhook_deliveries", "attributes": since}}

    for path, body_of in (
        (f"{place}/deliveries/{delivery}/retry", None),
        (f"{place}/deliveries/retry", all_failed),
    ):
        answers = []
        for _ in range(2):
            await service.execute("UPDATE webhook_deliveries SET state = 'failed', due_at = NULL")
            headers = {"Idempotency-Key": path[-20:]}
            answers.append(await client.request("POST", path, body_of, headers=headers))

        assert [each.status for each in answers] == [200, 200]
        assert answers[1].document["meta"] == answers[0].document["meta"]
        state = await service.database.fetchval("SELECT state FROM webhook_deliveries")
        assert state == "failed"
    assert answers[0].document["meta"] == {"retried": 1}
    later = {"data": {"type": "webhook_deliveries", "attributes": {"since": "2021-01-01"}}}
    other = await client.request("POST", path, later, headers=headers)
    assert other.status == 422
    assert other.document["errors"][0]["code"] == "idempotency_key_reused"
