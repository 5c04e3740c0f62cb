"""The states of an attachment (contract.md, "States"), and groups of them."""

from typing import Final, Literal, get_args

EndState = Literal["ready", "rejected", "failed"]
"""How the processing of an upload ends."""

State = Literal["pending", "uploaded", "processing", EndState, "expired"]

STATES: Final[tuple[State, ...]] = get_args(State)
"""Every state, in the order of an attachment's life; a constraint of the table has the same."""

END_STATES: Final[tuple[State, ...]] = get_args(EndState)

UNDER_WAY: Final[tuple[State, ...]] = ("uploaded", "processing")
"""There is an object, and a worker will or does examine it."""

MEASURED: Final[tuple[State, ...]] = ("ready", "rejected")
"""The object was examined, so the row describes it."""

SETTLED: Final[tuple[State, ...]] = (*END_STATES, "expired")
"""Nothing changes by itself any more; a client need not ask again."""
