"""Run a process of the service that counts nothing: `python -m tests.benchmarks.unmeasured NAME`.

The methods of Prometheus' client that count do nothing here, so that the cost of counting is the
difference to the process as it is.
"""

import runpy
import sys
from typing import Any

from prometheus_client import Counter, Gauge, Histogram


def _count_nothing(*_: Any, **__: Any) -> None:
    """Take the place of a method that counts."""


if __name__ == "__main__":
    for kind, names in (
        (Counter, ("inc",)),
        (Gauge, ("inc", "dec", "set", "set_to_current_time")),
        (Histogram, ("observe",)),
    ):
        for name in names:
            setattr(kind, name, _count_nothing)
    module = sys.argv[1]
    del sys.argv[1]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
