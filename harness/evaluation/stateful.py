"""Configurations whose answers depend on what was asked before."""

from serving.pipeline.config import RagConfig

STATEFUL_STAGES = ("cache.", "guard.")  # a chat model that is stateful follows a script, and does not count


def is_stateful(config: RagConfig) -> bool:
    """Whether a plug-in of the cache or the guard remembers earlier questions.

    Such a configuration is scored whole, in the split's own order, one case at a time, with a fresh state for each evaluation: its
    numbers then do not depend on concurrency, blocks or workers.
    """
    return any(
        getattr(table.load(spec.name), "stateful", False)
        for path, (spec, table) in config.plugins().items()
        if path.startswith(STATEFUL_STAGES)
    )
