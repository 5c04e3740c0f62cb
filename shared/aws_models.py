"""botocore's models of AWS services, which the clients of a process share.

By default, each session of botocore reads and parses its own models. That takes 0.05 s of CPU time
for each client, and some megabytes of memory.
"""

from functools import cache

import botocore.loaders
from botocore.session import Session


def share_models(session: Session) -> None:
    """Let a session use the models that other sessions of this process have read.

    The configuration is read when the session makes its first client, because AWS_DATA_PATH and the
    config file can name more folders of models. So errors in the configuration are raised then.
    """
    session.lazy_register_component(
        "data_loader", lambda: _loader(session.get_config_variable("data_path"))
    )


@cache
def _loader(data_path: str | None) -> botocore.loaders.Loader:
    return botocore.loaders.create_loader(data_path)
