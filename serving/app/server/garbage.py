"""Keeps the garbage collector from walking over a release, its models and its index, which live until the next release."""

import gc


def settle_memory() -> None:
    """Collect garbage, then freeze what is alive, so that no later collection walks over it; what was frozen before is looked at first."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
