"""The types of webhooks' events, the states of deliveries, and the schedule of their attempts."""

from typing import Final, Literal, get_args

AttachmentEvent = Literal[
    "attachment.uploaded",
    "attachment.ready",
    "attachment.rejected",
    "attachment.failed",
    "attachment.expired",
    "attachment.deleted",
]
"""The events that a webhook may subscribe to. The trigger of migration 0013 has the same names."""

EVENTS: Final[tuple[AttachmentEvent, ...]] = get_args(AttachmentEvent)

TEST: Final = "webhook.test"
"""The event of a delivery that a client requests to test a webhook."""

DeliveryEvent = Literal[AttachmentEvent, "webhook.test"]
"""Every event that a delivery may have."""

DeliveryState = Literal["pending", "delivered", "failed"]

DELIVERY_STATES: Final[tuple[DeliveryState, ...]] = get_args(DeliveryState)

ReceiverFault = Literal[
    "timeout",
    "unresolved",
    "address_refused",
    "unreachable",
    "certificate",
    "broken_answer",
    "redirect",
    "status",
    "gone",
]
"""Reasons why a receiver did not accept a delivery. `status` means a status other than 2xx, 3xx and
410."""

OwnFault = Literal["secret_unreadable", "internal_error", "webhook_inactive"]
"""Reasons in the service itself why a delivery was not sent."""

DeliveryFault = Literal[ReceiverFault, OwnFault]

OWN_FAULTS: Final[frozenset[OwnFault]] = frozenset(get_args(OwnFault))

Deactivation = Literal["gone", "failing"]
"""Reasons why the service deactivated a webhook. `gone`: the receiver answered 410. `failing`: the
receiver failed for FAILING_DAYS."""

DELAYS_S: Final = (5, 300, 1800, *(hours * 3600 for hours in (2, 5, 10, 14, 20, 24)))
"""Seconds from each failed attempt to the next. After the last delay, one more attempt is made.
Standard Webhooks recommends such a schedule."""

TIMEOUT_S: Final = 15.0
"""Seconds within which a receiver must answer. Standard Webhooks recommends 15 to 30."""

FAILING_DAYS: Final = 5
"""The number of days after which a webhook is deactivated if all its deliveries have failed.

The times between each failure and the next are added. Each of these times counts as at most
MAX_PAUSE_S. So a failure after weeks without any delivery does not deactivate the webhook.
"""

MAX_PAUSE_S: Final = DELAYS_S[-1]
"""The longest time between two attempts at one delivery. If the time between two failures is
longer, there was no delivery to attempt."""

KEPT_DAYS: Final = 30
MAX_KEPT: Final = 1_000_000
"""Deliveries are kept for KEPT_DAYS days. All organizations together keep at most MAX_KEPT."""

MAX_WEBHOOKS: Final = 20
"""One organization may have at most this many webhooks."""

MAX_DESCRIPTION: Final = 255
"""The most characters of a webhook's description. Other texts of the API have the same limit."""


def delay_s(attempt: int) -> float | None:
    """Return the seconds from the failed attempt `attempt` to the next; None if it was the last.

    The first attempt has the number 1.
    """
    return float(DELAYS_S[attempt - 1]) if attempt <= len(DELAYS_S) else None
