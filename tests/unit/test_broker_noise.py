"""A filter replaces kombu's log lines about an unavailable broker with the service's own lines."""

import inspect
import logging

import pytest
from kombu.transport import redis

from shared.outages import BROKER
from worker import broker_noise
from worker.broker_noise import BrokerNoise


def record(name: str, text: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, "", 0, text, (48.0,), None)


def test_a_broker_that_answers_nothing_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[str] = []
    monkeypatch.setattr(BROKER, "fault", faults.append)
    silent = record("kombu.transport.redis", "Redis BRPOP got no reply for %.0f seconds; …")

    assert not BrokerNoise("redis://127.0.0.1").filter(silent)
    assert faults == ["no answer in time"]


def test_other_lines_are_written() -> None:
    noise = BrokerNoise("redis://127.0.0.1")

    assert noise.filter(record("kombu.transport.redis", "something else %s"))
    assert noise.filter(record("worker", "Redis BRPOP got no reply for %.0f seconds"))


def test_kombu_writes_the_text_that_the_filter_expects() -> None:
    assert broker_noise.SILENT in inspect.getsource(redis)
