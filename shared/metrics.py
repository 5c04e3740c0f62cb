"""The metrics that several kinds of process have; `deploy/docs/metrics.md` lists all."""

from prometheus_client import Counter, disable_created_metrics

# A series more for each counter and histogram, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]  # its package has no types for it

EVENTS = Counter("attachments_events_total", "Events by dialect and effect", ["dialect", "effect"])
"""The effects are those of `shared.intake.effects`; for SNS also `refused`, counted by message."""

OLDER_OBJECTS = Counter(
    "attachments_older_objects_total",
    "Objects older than their row that were found, and not used or deleted",
)

NOT_KEPT = Counter(
    "attachments_dead_letters_not_kept_total",
    "Unreadable messages that were not kept, because one origin sent too many",
)
"""A message that is stored already may be counted here too; its dead letter also counts it."""
