"""Functions that read the metrics of processes under test."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.support.service import scrape
from tests.support.service_processes import ServiceProcess


@dataclass(frozen=True)
class Shown:
    """The samples of one scrape."""

    values: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of the samples with this name and these labels; 0 if no sample matches."""
        wanted = set(labels.items())
        return sum(
            value
            for (found, have), value in self.values.items()
            if found == name and wanted <= have
        )


def read(text: str) -> Shown:
    """Parse the text of a scrape."""
    return Shown(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )


def metrics_url(process: ServiceProcess) -> str:
    """Find the metrics address that a process has logged at its start."""
    lines = [json.loads(line) for line in process.log().splitlines() if "metrics are" in line]
    return str(lines[0]["url"])


async def shown(process: ServiceProcess) -> Shown:
    """Scrape the metrics of a process."""
    return read(await scrape(metrics_url(process)))
