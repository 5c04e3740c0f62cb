"""AWS on this machine: moto's server, with S3, SQS, SNS and EventBridge connected.

moto does not notice that a connection has ended. So the long poll of a killed consumer still
receives the next message, and other consumers see this message only after its visibility timeout.
"""

import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from aiobotocore.session import get_session

from deploy.embedded.ports import HOST, choose_ports
from tests.support.service import until

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_sns import SNSClient
    from types_aiobotocore_sqs import SQSClient

REGION = "us-east-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "the-id-of-the-tests",
    "AWS_SECRET_ACCESS_KEY": "the-key-of-moto",
}
VISIBILITY_S = 2
"""The default visibility timeout of the queues, in seconds.

It is far shorter than the timeouts under test.
"""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """An SQS queue and its dead-letter queue."""

    client: "SQSClient" = field(repr=False)
    url: str
    arn: str
    dead: "Inbox | None" = None

    async def send(self, *bodies: str) -> list[str]:
        """Send message bodies to the queue unchanged; return the ids of the messages."""
        sent = []
        for start in range(0, len(bodies), 10):
            answer = await self.client.send_message_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(number), "MessageBody": body}
                    for number, body in enumerate(bodies[start : start + 10])
                ],
            )
            sent += [each["MessageId"] for each in answer["Successful"]]
        return sent

    async def counts(self) -> tuple[int, int]:
        """Count the messages that can be received, and those that are received but not deleted."""
        answer = await self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])
        found = answer["Attributes"]
        return (
            int(found["ApproximateNumberOfMessages"]),
            int(found["ApproximateNumberOfMessagesNotVisible"]),
        )

    async def is_empty(self) -> bool:
        """Return True if every message has been deleted."""
        return await self.counts() == (0, 0)


class Moto:
    """The running moto server. Each bucket and queue that a test makes has a unique name."""

    def __init__(self, url: str, s3: "S3Client", sqs: "SQSClient", sns: "SNSClient", events: Any):
        self.url = url
        self.s3, self.sqs, self.sns, self.events = s3, sqs, sns, events

    async def make_bucket(self) -> str:
        """Make a bucket with a unique name, and return the name."""
        name = f"uploads-{next(_numbers)}"
        await self.s3.create_bucket(Bucket=name)
        return name

    async def make_inbox(self, name: str = "", *, receives: int | None = None) -> Inbox:
        """Make a queue.

        If `receives` is given, a message goes to the dead-letter queue after it has been received
        this number of times.
        """
        attributes = {"VisibilityTimeout": str(VISIBILITY_S)}
        dead = None
        if receives is not None:
            dead = await self.make_inbox()
            policy = {"deadLetterTargetArn": dead.arn, "maxReceiveCount": str(receives)}
            attributes["RedrivePolicy"] = json.dumps(policy)
        made = await self.sqs.create_queue(
            QueueName=name or f"events-{next(_numbers)}",
            Attributes=attributes,  # type: ignore[arg-type]  # its stubs list every name
        )
        url = made["QueueUrl"]
        answer = await self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return Inbox(client=self.sqs, url=url, arn=answer["Attributes"]["QueueArn"], dead=dead)

    async def wire_sqs(self, bucket: str, inbox: Inbox) -> None:
        """Configure S3 to send its events to the queue.

        S3 first sends a test event to the queue.
        """
        await self.s3.put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={
                "QueueConfigurations": [{"QueueArn": inbox.arn, "Events": ["s3:ObjectCreated:*"]}]
            },
        )

    async def wire_sns(self, bucket: str, inbox: Inbox, *, raw: bool) -> None:
        """Configure S3 to publish its events to a topic to which the queue is subscribed."""
        topic = await self.sns.create_topic(Name=f"uploads-{next(_numbers)}")
        await self.sns.subscribe(
            TopicArn=topic["TopicArn"],
            Protocol="sqs",
            Endpoint=inbox.arn,
            Attributes={"RawMessageDelivery": "true"} if raw else {},
        )
        await self.s3.put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={
                "TopicConfigurations": [
                    {"TopicArn": topic["TopicArn"], "Events": ["s3:ObjectCreated:*"]}
                ]
            },
        )

    async def wire_eventbridge(self, bucket: str, inbox: Inbox) -> None:
        """Configure S3 to send its events to EventBridge, where a rule sends them to the queue."""
        rule = f"uploads-{next(_numbers)}"
        pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}
        await self.events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
        await self.events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": inbox.arn}])
        await self.s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )

    async def guard(self) -> None:
        """Make moto refuse every later request, as IAM refuses an unknown user."""
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self.url}/moto-api/reset-auth", data=b"0") as answer,
        ):
            assert answer.status == 200, await answer.text()

    def settings(self, inbox: Inbox, bucket: str | None = None) -> dict[str, str]:
        """Return settings for a service that receives its events from a queue.

        If a bucket is given, the service also stores its objects in moto.
        """
        settings = {"sqs_queue_url": inbox.url}
        if bucket is not None:
            settings |= {"s3_bucket": bucket, "s3_endpoint_url": self.url, "s3_region": REGION}
        return settings


@asynccontextmanager
async def running_moto(port: int | None = None) -> AsyncIterator[Moto]:
    """Run moto's server as a separate process, and yield it with open clients."""
    if port is None:
        port = choose_ports(("moto",))["moto"]
    url = f"http://{HOST}:{port}"
    with tempfile.TemporaryFile() as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "moto.server",
            "-H",
            HOST,
            "-p",
            str(port),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            async with AsyncExitStack() as stack:
                http = await stack.enter_async_context(aiohttp.ClientSession())

                async def answers() -> bool:
                    assert process.returncode is None, "moto ended at its start"
                    try:
                        async with http.get(f"{url}/moto-api/data.json") as answer:
                            return answer.status == 200
                    except aiohttp.ClientError:
                        return False

                await until(answers, within_s=60)
                clients = [
                    await stack.enter_async_context(
                        get_session().create_client(
                            name,
                            region_name=REGION,
                            endpoint_url=url,
                            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                        )
                    )
                    for name in ("s3", "sqs", "sns", "events")
                ]
                yield Moto(url, *clients)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
