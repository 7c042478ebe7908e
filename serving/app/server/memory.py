"""The garbage collector and what stays: a release, its models and its index live until the next release."""

import gc


def settle_memory() -> None:
    """Take what is alive out of the collector's sight, so that no collection walks over it again; what the last call took is looked at."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
