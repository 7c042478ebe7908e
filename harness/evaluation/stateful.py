"""Whether a configuration remembers earlier questions, so that the order of an evaluation's cases decides its answers."""

from serving.pipeline.config import RagConfig


def is_stateful(config: RagConfig) -> bool:
    """Whether a cache or a guard of the configuration keeps state from one question to the next."""
    return any(
        getattr(table.load(spec.name), "stateful", False)
        for path, (spec, table) in config.plugins().items()
        if path.startswith(("cache.", "guard."))
    )
