"""A process of the service that counts no metrics: `python -m tests.benchmarks.unmeasured NAME`.

The counting methods of Prometheus' client do nothing here. So the cost of counting is the
difference to the unchanged process.
"""

import runpy
import sys
from typing import Any

from prometheus_client import Counter, Gauge, Histogram


def _count_nothing(*_: Any, **__: Any) -> None:
    """Replace a counting method; do nothing."""


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
