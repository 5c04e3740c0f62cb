"""The peak memory of a decoder over the hostile corpus, and the longest CPU time of one file.

The decoder for documents gets the PDFs. The decoder for images gets every other file, even if it is
no image. If a file ends its decoder, the decoder is replaced, as in a worker. The peak memory is
that of the decoder that used most memory.
"""

import asyncio
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.table import Table

from shared.errors import Undecodable
from shared.settings import Settings
from tests.benchmarks.processes import MIB, cpu_s
from tests.benchmarks.report import at_most, make_table
from tests.benchmarks.site import Site
from tests.data.hostile_corpus import SAMPLES
from tests.data.sample import Sample
from tests.support.service import make_settings
from worker.decoding.formats import Box
from worker.decoding.process import Decoder

AIM_MIB = 1024
AIM_S = 10.0
SAMPLE_S: Final = 0.005
QUICK_EVERY: Final = 4


@dataclass(kw_only=True)
class Seen:
    """The results so far: peak memory, longest CPU time of one file, counts of the outcomes."""

    peak_bytes: int = 0
    peak_by: str = ""
    cpu_s: float = 0.0
    cpu_by: str = ""
    ends: Counter[str] = field(default_factory=Counter)

    def note_memory(self, held: int, sample: Sample) -> None:
        """Record the memory that a decoder has used so far, if it is a new maximum."""
        if held > self.peak_bytes:
            self.peak_bytes, self.peak_by = held, sample.name

    def note_cpu(self, used_s: float, sample: Sample) -> None:
        """Record the CPU time of a file, if it is a new maximum."""
        if used_s > self.cpu_s:
            self.cpu_s, self.cpu_by = used_s, sample.name


async def run(site: Site) -> Table:
    """Decode all files one after the other. In a quick run, decode every fourth file."""
    table = make_table("corpus: one decoder over all hostile files", ["", "figure", "aim", "file"])
    table.columns[-1].overflow = "fold"
    if sys.platform != "linux":
        table.add_row("only Linux tells the most that a process held")
        return table
    settings = make_settings(site.stack.environment(site.database_url))
    seen = Seen()
    samples = SAMPLES[:: QUICK_EVERY if site.quick else 1]
    images = [sample for sample in samples if not sample.file_name.endswith(".pdf")]
    documents = [sample for sample in samples if sample.file_name.endswith(".pdf")]
    for kind, files in ((Box.IMAGES, images), (Box.DOCUMENTS, documents)):
        await _decode_all(kind, files, settings, seen)
    table.add_row(
        "most memory (RSS)",
        *at_most(seen.peak_bytes / MIB, AIM_MIB, unit="MiB", digits=0),
        seen.peak_by,
    )
    table.add_row(
        "most CPU of one file", *at_most(seen.cpu_s, AIM_S, unit="s", digits=1), seen.cpu_by
    )
    for end, count in seen.ends.most_common():
        table.add_row(end, str(count))
    return table


async def _decode_all(kind: Box, files: list[Sample], settings: Settings, seen: Seen) -> None:
    decoder: Decoder | None = None
    try:
        for sample in files:
            if decoder is None:
                decoder = await Decoder.start(kind, settings.more_formats)
            if not await _decode(decoder, sample, settings, seen):
                await decoder.stop()
                decoder = None
    finally:
        if decoder is not None:
            await decoder.stop()


async def _decode(decoder: Decoder, sample: Sample, settings: Settings, seen: Seen) -> bool:
    """Decode one file; return True if the decoder can be used for another file."""
    content = await asyncio.to_thread(lambda: sample.content)
    before = cpu_s(decoder.pid)
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        decoding = asyncio.create_task(
            decoder.decode(file.fileno(), timeout_s=settings.decoder_timeout)
        )
        # The memory of a decoder that will be killed can be measured only while it runs.
        while not decoding.done():
            seen.note_memory(_most_bytes(decoder.pid), sample)
            await asyncio.wait({decoding}, timeout=SAMPLE_S)
    seen.note_memory(_most_bytes(decoder.pid), sample)
    seen.note_cpu(cpu_s(decoder.pid) - before, sample)
    try:
        decoding.result()
    except Undecodable as rejected:
        seen.ends[rejected.code] += 1
    except (TimeoutError, EOFError, OSError) as error:
        seen.ends[f"decoder ended: {type(error).__name__}"] += 1
        return False
    else:
        seen.ends["thumbnail"] += 1
    return True


def _most_bytes(pid: int) -> int:
    """Return the peak memory of a process in bytes (proc(5), VmHWM); 0 if the process has ended."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
