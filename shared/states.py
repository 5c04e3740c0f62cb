"""The states of an attachment (contract.md, "States"), and groups of states."""

from typing import Final, Literal, get_args

EndState = Literal["ready", "rejected", "failed"]
"""The states in which the processing of an upload ends."""

State = Literal["pending", "uploaded", "processing", EndState, "expired"]

STATES: Final[tuple[State, ...]] = get_args(State)
"""Every state, in the order of an attachment's life. A table constraint has the same list."""

END_STATES: Final[tuple[State, ...]] = get_args(EndState)

UNDER_WAY: Final[tuple[State, ...]] = ("uploaded", "processing")
"""The states in which an object is stored and a worker examines it now or soon."""

MEASURED: Final[tuple[State, ...]] = ("ready", "rejected")
"""The states in which the object was examined, so the row describes it."""

SETTLED: Final[tuple[State, ...]] = (*END_STATES, "expired")
"""The states that no longer change by themselves, so a client need not poll."""
