"""Functions that read the metrics of processes under test."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from prometheus_client.parser import text_string_to_metric_families

from tests.support.service import scrape


class Logging(Protocol):
    """A process of the service whose log can be read."""

    def log(self) -> str: ...


@dataclass(frozen=True)
class Shown:
    """The samples of one scrape, and the types of the service's metrics by name."""

    values: Mapping[tuple[str, frozenset[tuple[str, str]]], float]
    types: Mapping[str, str]

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of all samples with this name and these labels."""
        wanted = set(labels.items())
        return sum(
            value
            for (found, have), value in self.values.items()
            if found == name and wanted <= have
        )


def read(text: str) -> Shown:
    """Parse the text of a scrape; the format is Prometheus's."""
    families = list(text_string_to_metric_families(text))
    return Shown(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        },
        # The parser removes `_total` from a counter's name.
        {
            f"{each.name}_total" if each.type == "counter" else each.name: each.type
            for each in families
            if each.name.startswith("attachments_")
        },
    )


def metrics_url(process: Logging) -> str:
    """Return the metrics address that a process has logged at its start."""
    lines = [json.loads(line) for line in process.log().splitlines() if "metrics are" in line]
    return str(lines[0]["url"])


async def shown(process: Logging) -> Shown:
    """Scrape the metrics of a process, and return them."""
    return read(await scrape(metrics_url(process)))
