"""Run one worker process: `python -m worker`, or `attachments worker`."""

import sys

# Handle signals before the imports below, because these imports take half a second. Remove foreign
# environment variables before them too, because some imported modules read such variables.
if __name__ == "__main__":
    from shared.beginning import end_on_signal, pause_collection
    from shared.foreign import forget_foreign_variables

    end_on_signal()
    pause_collection()
    forget_foreign_variables()

import asyncio

from shared.beginning import resume_collection
from shared.broker_check import refuse_cluster
from shared.errors import AttachmentsError
from shared.log import configure_logging, get_logger
from shared.log_lines import fault_line, name_process
from shared.settings import Settings, load_settings, retired_settings
from shared.trace_start import exported
from worker.decoding.formats import check_decoders
from worker.sandbox.sealing import check_seal
from worker.temporary import check_folder

log = get_logger(__name__)


def run(settings: Settings) -> int:
    """Run a worker in this process until a signal stops it; return the exit status.

    Raises SettingsError in three cases: the decoder of a chosen format is not installed; decoders
    must be sealed, but cannot be here; the broker is in cluster mode.
    """
    configure_logging(settings.log_level, settings.log_format, serving=True, process="worker")
    for line in retired_settings():
        log.warning(line)
    check_decoders(settings.more_formats)
    check_seal(settings.decoder_seal)
    check_folder()
    asyncio.run(refuse_cluster(settings))
    from worker.app import work

    resume_collection()
    with exported(settings, "worker"):
        return work(settings)


if __name__ == "__main__":
    name_process("worker")
    try:
        sys.exit(run(load_settings()))
    except AttachmentsError as error:
        sys.exit(fault_line(f"attachments worker: {error}"))
