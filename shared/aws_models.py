"""botocore's models of AWS services, which the clients of a process share.

Each session of botocore would read and parse its own. That takes 0.05 s of CPU time for each
client, and some megabytes of memory.
"""

from functools import cache

import botocore.loaders
from botocore.session import Session


def share_models(session: Session) -> None:
    """Let a session use the models that other sessions of this process have read.

    They are read when the session makes its first client. AWS_DATA_PATH and the config file say
    where else botocore looks for models, so errors of the configuration are raised then.
    """
    session.lazy_register_component(
        "data_loader", lambda: _loader(session.get_config_variable("data_path"))
    )


@cache
def _loader(data_path: str | None) -> botocore.loaders.Loader:
    return botocore.loaders.create_loader(data_path)
