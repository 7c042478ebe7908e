from tests.app.conftest import furnished

__all__ = ["furnished"]
