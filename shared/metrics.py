"""The metrics that several kinds of process have; `deploy/docs/metrics.md` lists all."""

from prometheus_client import Counter, disable_created_metrics

# A series more for each counter and histogram, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]  # its package has no types for it

EVENTS = Counter("attachments_events_total", "Events by dialect and effect", ["dialect", "effect"])
"""The effects are those of `shared.intake.effects`; for SNS also `refused`, counted by message."""

OLDER_OBJECTS = Counter(
    "attachments_older_objects_total",
    "Times that an object was met which is older than its row, and so was not used or deleted",
)

NOT_KEPT = Counter(
    "attachments_dead_letters_not_kept_total",
    "Messages that could not be used and came too fast from one origin to be kept",
)
"""A message that is stored already may be counted here too; its dead letter also counts it."""
