"""Turn the lines that Celery and kombu log about a lost broker into one report of the outage."""

import logging

from kombu.exceptions import OperationalError
from redis import RedisError

from shared.broker_faults import describe
from shared.outages import BROKER

_LIBRARIES = ("celery", "kombu", "redis")
SILENT = "Redis BRPOP got no reply"
"""The beginning of kombu's warning about a broker that holds the connection but answers nothing."""
_FAULTS = (RedisError, OperationalError, OSError)


class BrokerNoise(logging.Filter):
    """Drops a record of these libraries that has an error of the broker, and reports the error.

    Celery logs a traceback at level critical for each message that it cannot acknowledge. The
    broker delivers such a message again, and a row that is done changes nothing.
    """

    def __init__(self, server: str) -> None:
        """`server` is the broker's address without secrets."""
        super().__init__()
        self._server = server

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be written."""
        if record.name.partition(".")[0] not in _LIBRARIES:
            return True
        if str(record.msg).startswith(SILENT):
            BROKER.fault("no answer in time")
            return False
        if not record.exc_info:
            return True
        error = record.exc_info[1]
        if not isinstance(error, _FAULTS):
            return True
        # Such errors come also after a reconnect, from messages of the connection that was lost.
        BROKER.late_fault(describe(error, self._server))
        return False
