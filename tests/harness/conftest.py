from tests.harness.world import world

__all__ = ["world"]
