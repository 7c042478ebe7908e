"""Open files: each connection is one, and a process that runs out of them accepts nobody."""

import resource
from typing import Final

RESERVED: Final = 384  # for the index, the models' files, calls out, and what is accepted before it is counted


def raise_open_files(connections: int) -> int:
    """Raise this process's limit of open files as far as so many connections need; returns how many it allows."""
    wanted = connections + RESERVED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _below(soft, wanted):
        soft = wanted if not _below(hard, wanted) else hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if not _below(soft, wanted) else max(soft - RESERVED, soft // 4)  # of a very low limit, a share


def _below(limit: int, wanted: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < wanted
