"""How many cores there are to use, and how many threads a local model may."""

import os

from serving.pipeline.settings import PipelineSettings

MOST_THREADS = 4  # more starve each other of memory bandwidth


def cores() -> int:
    """The cores that this process may use, which in a container may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_for(settings: PipelineSettings) -> int:
    """The threads that the settings name, else one for each core this process may use, at most four."""
    return settings.threads or min(cores(), MOST_THREADS)
