"""The hostile corpus: files for rows 67 to 89 and 114 of limits.md and similar files, made by code.

Each imported module has one kind of hostile file. The service must process each file as its
`Sample` says. A file that needs its own store or worker is in the test of its row.
"""

from typing import Final

from tests.data import bombs, damaged, disguised, drawings, locked, metadata, previews
from tests.data.sample import Sample

SAMPLES: Final[tuple[Sample, ...]] = (
    *disguised.SAMPLES,
    *damaged.SAMPLES,
    *bombs.SAMPLES,
    *metadata.SAMPLES,
    *drawings.SAMPLES,
    *previews.SAMPLES,
    *locked.SAMPLES,
)
