"""The hostile corpus: the files of rows 67 to 89 of limits.md and similar files, made by code.

Each module has one kind of hostile file. The running service must process each file as its
description says. Files that need a store or a worker of their own are in the tests of their rows.
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
