"""The types of events, the states of deliveries, and the schedule of their attempts."""

from typing import Final, Literal, get_args

AttachmentEvent = Literal[
    "attachment.uploaded",
    "attachment.ready",
    "attachment.rejected",
    "attachment.failed",
    "attachment.expired",
    "attachment.deleted",
]
"""The events that a webhook may subscribe to; the trigger of migration 0013 has the same names."""

EVENTS: Final[tuple[AttachmentEvent, ...]] = get_args(AttachmentEvent)

TEST: Final = "webhook.test"
"""The event that a client requests to try a webhook."""

DeliveryEvent = Literal[AttachmentEvent, "webhook.test"]
"""Every event that a delivery may report."""

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
"""The reason why a receiver did not accept a delivery. `status` means another status than 2xx, 3xx
and 410."""

OwnFault = Literal["secret_unreadable", "internal_error", "webhook_inactive"]
"""The reason why a delivery was not sent, if the receiver is not the cause."""

DeliveryFault = Literal[ReceiverFault, OwnFault]

OWN_FAULTS: Final[frozenset[OwnFault]] = frozenset(get_args(OwnFault))

Deactivation = Literal["gone", "failing"]
"""The reason why the service deactivated a webhook: the receiver answered 410, or failed for five
days."""

DELAYS_S: Final = (5, 300, 1800, *(hours * 3600 for hours in (2, 5, 10, 14, 20, 24)))
"""Seconds from each failed attempt to the next one. The attempt after the last delay is the last;
Standard Webhooks recommends such a schedule."""

TIMEOUT_S: Final = 15.0
"""Seconds within which a receiver must answer with 2xx; Standard Webhooks recommends 15 to 30."""

FAILING_DAYS: Final = 5
"""A webhook whose deliveries have all failed for this number of days is deactivated."""

KEPT_DAYS: Final = 30
MAX_KEPT: Final = 1_000_000
"""The days for which deliveries are kept, and the maximum number of all organizations together."""

MAX_WEBHOOKS: Final = 20
"""The most webhooks of one organization."""


def delay_s(attempt: int) -> float | None:
    """Return the seconds from failed attempt number `attempt` to the next; None after the last.

    `attempt` may be any number from 1.
    """
    return float(DELAYS_S[attempt - 1]) if attempt <= len(DELAYS_S) else None
