"""Report an outage of the broker once, and drop the many log lines of Celery and kombu about it."""

import logging

from kombu.exceptions import OperationalError
from redis import RedisError

from shared.broker_faults import describe
from shared.outages import BROKER

_LIBRARIES = ("celery", "kombu", "redis")
SILENT = "Redis BRPOP got no reply"
"""How kombu's warning begins if the broker keeps the connection open but answers nothing."""
_FAULTS = (RedisError, OperationalError, OSError)


class BrokerNoise(logging.Filter):
    """Drops log records of Celery, kombu and redis about broker errors; reports the errors itself.

    The libraries log tracebacks about a lost broker, some of them late. An error of the broker is
    harmless: the sweep finds the uploads whose messages are lost.
    """

    def __init__(self, server: str) -> None:
        """`server` is the broker's address without secrets."""
        super().__init__()
        self._server = server

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True if the record is to be written."""
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
        # After a reconnect, messages of the lost connection cause errors. They show no new outage.
        BROKER.late_fault(describe(error, self._server))
        return False
