"""An API that accepts SNS messages, and a stand-in for Amazon's servers."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.amazon import HOST, Amazon
from tests.support.dialects import sample
from tests.support.events import new_row, send
from tests.support.service import Answer, Service
from tests.support.sns import Document, ago, notification
from tests.support.stack import EVENTS_TOKEN

OTHER_TOPIC = "arn:aws:sns:eu-west-1:123456789012:uploads-too"
UNKNOWN_TOPIC = "arn:aws:sns:eu-west-1:210987654321:uploads"
NO_TOKEN: dict[str, str] = {}
TOKEN = {"Authorization": f"Bearer {EVENTS_TOKEN}"}
TEXT = {"Content-Type": "text/plain; charset=UTF-8"}


@dataclass(frozen=True, kw_only=True)
class Site:
    """An API that accepts messages of two SNS topics, and the stand-in for Amazon's servers."""

    service: Service
    amazon: Amazon

    async def notification(self, **changes: Any) -> Document:
        """Return an unsigned SNS message about a new upload; keyword arguments replace members."""
        row = await new_row(self.service)
        return notification(row.key, **changes)

    async def post(self, document: Any, headers: dict[str, str] = NO_TOKEN) -> Answer:
        """Post an SNS message to the API as SNS does."""
        return await send(self.service, json.dumps(document).encode(), {**TEXT, **headers})

    async def states(self) -> list[str]:
        """Return every row of `attachments` and of `dead_letters` as text."""
        rows = await self.service.database.fetch(
            "SELECT a::text FROM attachments AS a UNION ALL SELECT d::text FROM dead_letters AS d"
            " ORDER BY 1"
        )
        return [row[0] for row in rows]

    def forget(self) -> None:
        """Clear the lists of the requests that the stand-in has received."""
        self.amazon.asked.clear()
        self.amazon.seen.clear()


StartSite = Callable[..., Any]


def confirmation(kind: str = "subscription", **changes: Any) -> Document:
    """Return an unsigned SNS message that confirms or ends a subscription."""
    document = {**sample(f"sns-{kind}-confirmation"), "Timestamp": ago(seconds=1), **changes}
    return {name: value for name, value in document.items() if value is not ...}


def fresh_certificate() -> str:
    """Return the address of a certificate that the API has not yet requested."""
    return f"https://{HOST}/SimpleNotificationService-{secrets.token_hex(16)}.pem"


def path_of(url: str) -> str:
    """Return the path of an address at Amazon's host."""
    return url.removeprefix(f"https://{HOST}")
