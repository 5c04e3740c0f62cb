"""The message of a wake-up, built without Celery, because a call of Celery takes too much CPU."""

import json
import re
from base64 import b64decode, b64encode
from typing import Any
from uuid import uuid4

from shared.broker import ORGANIZATION, REQUEST_ID, TASK, TRACEPARENT, make_celery, queue_name
from shared.lifecycle import WakeUp


class TaskMessage:
    """Builds the message of a wake-up exactly as Celery and kombu would store it in Redis.

    Sending a task with Celery takes about 300 µs, more than all other work for an event. So Celery
    sends only one task, to kombu's memory transport. The message of this task becomes a template,
    into which the ids of each wake-up are filled.
    """

    def __init__(self) -> None:
        app = make_celery("memory://")
        with app.connection_for_write() as connection:
            app.send_task(
                TASK,
                args=(0, 0),
                queue=queue_name(0),
                connection=connection,
                headers={
                    ORGANIZATION: "<organization>",
                    REQUEST_ID: "<request>",
                    TRACEPARENT: "<trace>",
                },
            )
            channel: Any = connection.default_channel
            # `_get` is private in kombu. The public method would decode the message.
            message = channel._get(queue_name(0))
        app.close()
        body = b64decode(message["body"]).decode()
        message["body"] = "<body>"
        message["headers"] |= {"id": "<id>", "root_id": "<id>", "argsrepr": "(<arguments>)"}
        message["properties"] |= {"correlation_id": "<id>", "delivery_tag": "<id>"}
        message["properties"]["delivery_info"]["routing_key"] = "<queue>"
        self._message = _template(json.dumps(message))
        self._body = _template(body.replace("[0, 0]", "[<arguments>]", 1))
        # A message's id has the form of a UUID (version 4): a random beginning, which is kept here,
        # and a counter.
        self._id = str(uuid4())[:-12]
        self._count = 0

    def fill(self, wake_up: WakeUp, request_id: str = "", traceparent: str = "") -> str:
        """Return the message of a wake-up as JSON. Call it in one thread at a time.

        `request_id` is the id of the request that caused the wake-up: see `shared.request_ids`.
        `traceparent` is the context of the request's trace: see `shared.traces`.
        """
        self._count += 1
        arguments = {"arguments": f"{wake_up.attachment_id}, {wake_up.revision}"}
        return self._message % {
            **arguments,
            "body": b64encode((self._body % arguments).encode()).decode(),
            "id": f"{self._id}{self._count:012x}",
            "queue": queue_name(wake_up.organization_id),
            "organization": wake_up.organization_id,
            "request": request_id,
            "trace": traceparent,
        }


def _template(text: str) -> str:
    """Return a template for `%` that has a field for each `<name>` in the text."""
    return re.sub(r"<([a-z]+)>", r"%(\1)s", text.replace("%", "%%"))
