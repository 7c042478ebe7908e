"""AWS's own client, made quickly."""

import functools

from botocore import loaders, session


def read_descriptions_once() -> None:
    """Have botocore read its descriptions of services once a process: with them a client is made in a tenth of the time."""
    if session.create_loader is loaders.create_loader:
        session.create_loader = functools.cache(loaders.create_loader)  # the same files; the clients of one session share them anyway
