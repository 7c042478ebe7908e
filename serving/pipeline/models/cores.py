"""How many threads a local model may use."""

import os

from serving.pipeline.settings import PipelineSettings

MOST_THREADS = 4  # more starve each other of memory bandwidth


def threads_for(settings: PipelineSettings) -> int:
    """The threads that the settings name, else one for each core this process may use, at most four."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return settings.threads or min(available, MOST_THREADS)
