"""Which configurations are scored one question at a time: stateful ones, and models that answer one call at a time."""

from serving.pipeline.config import RagConfig

STATEFUL_STAGES = ("cache.", "guard.", "route.")  # a chat model that is stateful follows a script, and does not count


def is_stateful(config: RagConfig) -> bool:
    """Whether a plug-in of cache, guard or route remembers earlier questions: always, or with these parameters.

    Such a configuration is scored whole, in the split's own order, one case at a time, with a fresh state for each evaluation: its
    numbers then do not depend on concurrency, blocks or workers.
    """
    return any(
        getattr(table.load(spec.name), "stateful", False) or getattr(table.params(spec), "stateful", False)
        for path, (spec, table) in config.plugins().items()
        if path.startswith(STATEFUL_STAGES)
    )


def answers_one_at_a_time(config: RagConfig) -> bool:
    """Whether a chat model answers one call at a time, so that concurrent cases would time out waiting for it."""
    return any(
        getattr(table.load(spec.name), "one_at_a_time", False)
        for path, (spec, table) in config.plugins().items()
        if path.startswith("answer.models.")
    )
