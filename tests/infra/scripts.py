"""The scripts below infra/, as modules."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def script(path: str) -> ModuleType:
    """A script, whose neighbours it may import."""
    name = f"infra_{Path(path).stem}"
    if name in sys.modules:
        return sys.modules[name]
    file = ROOT / "infra" / path
    sys.path.insert(0, str(file.parent))  # taken away again after the test
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
