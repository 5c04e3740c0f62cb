"""The hostile corpus: every file of rows 67 to 89 of limits.md, and more of its kind, from code.

Each module holds one kind of malice; its description of a file must hold in the running
service. Files that need a store or a worker of their own are in the tests of their rows.
"""

from typing import Final

from tests.data import bombs, damaged, disguised, locked, metadata
from tests.data.sample import Sample

SAMPLES: Final[tuple[Sample, ...]] = (
    *disguised.SAMPLES,
    *damaged.SAMPLES,
    *bombs.SAMPLES,
    *metadata.SAMPLES,
    *locked.SAMPLES,
)
