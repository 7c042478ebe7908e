from tests.app.conftest import furnished, house

__all__ = ["furnished", "house"]
