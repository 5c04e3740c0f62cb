"""A process without one of its parts: `python -m tests.benchmarks.without PART NAME`.

PART is `watching` (metrics, log lines and their fields, request ids, stages of attempts, the
backlog) or `traces` (the code that runs while traces are off). The functions of this part are
replaced before other modules import them. The benchmarks compare this process with an unchanged
one, to find the cost of the part.
"""

import runpy
import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, Self

from prometheus_client import Counter, Gauge, Histogram

NOTHING = nullcontext()


def do_nothing(*_: Any, **__: Any) -> None:
    """Do nothing, in place of a function that returns nothing."""


class Unnoticed:
    """Does nothing, in place of `api.request_log.Answering` and `shared.log_fields.Fields`."""

    __slots__ = ()

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """Do nothing; the original ends a request."""

    def end(self, *_: Any, **__: Any) -> None:
        """Do nothing. `Answering.end` counts and logs a request, and adds its id to the answer."""


def leave_out_watching() -> None:
    """Replace functions that count, add fields to log lines, or measure the backlog."""
    for kind, names in (
        (Counter, ("inc",)),
        (Gauge, ("inc", "dec", "set", "set_to_current_time")),
        (Histogram, ("observe",)),
    ):
        for name in names:
            setattr(kind, name, do_nothing)
    from shared import log_fields

    _replace(log_fields, Fields=Unnoticed, add_fields=do_nothing, field=do_nothing)
    from shared.backlog import BacklogWatch

    _replace(BacklogWatch, watching=lambda *_: nullcontext())


def leave_out_in_api() -> None:
    """Replace the code that counts and logs requests, and gives them ids."""
    from api import request_log

    _replace(request_log, Answering=Unnoticed)


def leave_out_in_worker() -> None:
    """Replace the functions that measure the stages of a worker's attempts."""
    from worker import stages

    off: Callable[..., Any] = lambda *_: NOTHING  # noqa: E731 - the shortest function is wanted
    _replace(
        stages,
        measured=off,
        note_object=do_nothing,
        note_type=do_nothing,
        note_cpu=do_nothing,
        rounded=do_nothing,
    )
    from worker import measuring

    record = SimpleNamespace(seconds=do_nothing)
    attempt = nullcontext(SimpleNamespace(end=do_nothing, stages=record, result=""))
    _replace(measuring, measured_attempt=lambda _: attempt)


def leave_out_traces(module: str) -> None:
    """Replace functions that do nothing but check whether traces are on."""
    from shared import traces

    _replace(traces, note=do_nothing, current=do_nothing, given=do_nothing)
    if module == "worker":
        from worker import attempt_spans

        _replace(
            attempt_spans,
            attempt_span=lambda _: NOTHING,
            trace_fields=lambda _: {},
            note_claim=do_nothing,
            note_outcome=do_nothing,
        )


def _replace(owner: Any, **functions: Any) -> None:
    for name, function in functions.items():
        assert hasattr(owner, name), f"{owner} has no {name} any more"
        setattr(owner, name, function)


if __name__ == "__main__":
    part, module = sys.argv[1:]
    del sys.argv[1:]
    if part == "traces":
        leave_out_traces(module)
    else:
        leave_out_watching()
        leave_out_in_api() if module == "api" else leave_out_in_worker()
    runpy.run_module(module, run_name="__main__", alter_sys=True)
