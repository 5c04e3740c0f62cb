"""The request id and the trace of an upload that an SQS message reports.

The worker logs the id of the SQS message as the request id. A consumer receives messages in
batches. The worker's spans belong to the trace of the batch, unless the upload has its own trace.
"""

from tests.support.collector import Collector, SeenSpan, running_collector
from tests.support.faults import PHOTO
from tests.support.log_lines import named
from tests.support.moto_server import Inbox
from tests.support.service import Service, until
from tests.support.sqs import StartConsumer, message
from tests.support.starting import StartWorker

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def processes(collector: Collector) -> dict[int, SeenSpan]:
    """Return the spans of attempts, by attachment id."""
    name = "process attachments-{number}"
    return {
        each.attributes["attachments.id"]: each for each in collector.spans if each.name == name
    }


async def uploaded(service: Service) -> str:
    """Upload a file whose event comes only from the queue, and return the attachment's id."""
    service.stack.relay.target = None
    return await service.client.upload(PHOTO)


async def test_each_upload_has_the_id_of_its_message(
    service: Service, inbox: Inbox, start_worker: StartWorker, start_consumer: StartConsumer
) -> None:
    first, second, third = [await uploaded(service) for _ in range(3)]
    worker = await start_worker(service)
    sent = await inbox.send(
        await message(service, first, second), await message(service, second, third)
    )
    await start_consumer(service)
    for each in (first, second, third):
        await service.client.settled(each)
    assert await worker.stop() == 0
    ids = {str(line["attachment"]): line["request_id"] for line in named(worker.log(), "processed")}
    assert (ids[first], ids[third]) == (sent[0], sent[1])
    assert ids[second] in sent


async def test_the_trace_of_a_batch_leads_to_the_worker_unless_the_upload_has_one(
    service: Service, inbox: Inbox, start_worker: StartWorker, start_consumer: StartConsumer
) -> None:
    async with running_collector() as collector:
        own, new = await uploaded(service), await uploaded(service)
        await service.execute(
            "UPDATE attachments SET traceparent = $1 WHERE id = $2", TRACEPARENT, int(own)
        )
        await start_worker(service, otlp_url=collector.url)
        consumer = await start_consumer(service, otlp_url=collector.url)
        await inbox.send(await message(service, own, new))
        for each in (own, new):
            await service.client.settled(each)

        async def processed() -> bool:
            return {int(own), int(new)} <= processes(collector).keys()

        await until(processed, within_s=20)
        assert await consumer.stop() == 0

        batch = next(
            each
            for each in collector.spans
            if each.name == f"process {inbox.url.rpartition('/')[2]}"
        )
        assert batch.service == "attachments-consume"
        assert batch.kind == "consumer"
        assert batch.attributes["messaging.system"] == "aws_sqs"
        assert processes(collector)[int(new)].trace_id == batch.trace_id
        assert processes(collector)[int(own)].trace_id == TRACEPARENT.split("-")[1]
        statements = {each.name for each in collector.of(batch.trace_id)}
        assert "intake.record" in statements
        sends = [each for each in collector.spans if each.kind == "producer"]
        assert {each.trace_id: each.links for each in sends} == {
            batch.trace_id: [],
            TRACEPARENT.split("-")[1]: [batch.span_id],
        }
