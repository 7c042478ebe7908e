import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[1]

# What only experiments need; with each of these blocked, all of serving must still import, and nothing may have tried to get at it.
BLOCKED = """
import importlib, pkgutil, sys

FORBIDDEN = {"harness", "mlflow", "optuna", "ragas", "deepeval", "ray", "torch"}
tried = []

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in FORBIDDEN:
            tried.append(name)
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Block())
"""

EVERYTHING = """
import serving.app.main, serving.app.__main__, serving.pipeline.build, serving
for module in pkgutil.walk_packages(serving.__path__, "serving."):
    importlib.import_module(module.name)
assert len([name for name in sys.modules if name.startswith("serving.")]) > 60
loaded = sorted({name.split(".")[0] for name in sys.modules} & FORBIDDEN)
assert not loaded, loaded
print("tried", tried)
"""

ANSWERING = """
import asyncio, tempfile
from pathlib import Path
from serving.app.release.loaded import load
from tests.app.making import House, config

async def main():
    with tempfile.TemporaryDirectory() as name:
        house = House(Path(name))
        digest = await house.release(config())
        assert (await load(house.settings(), digest)).digest == digest

asyncio.run(main())
loaded = sorted({name.split(".")[0] for name in sys.modules} & FORBIDDEN)
assert not loaded, loaded
"""


def _run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCKED + script], cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_all_of_serving_imports_without_what_only_experiments_need() -> None:
    done = _run(EVERYTHING)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "tried []"


def test_a_release_is_built_loaded_and_answers_without_what_only_experiments_need() -> None:
    done = _run(ANSWERING)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_block_itself_works() -> None:
    done = _run("import mlflow")
    assert done.returncode != 0
    assert "mlflow is blocked" in done.stderr


def test_importing_the_api_does_not_load_the_heavy_libraries() -> None:
    script = "import serving.app.main\nprint(sorted({'lancedb', 'onnxruntime', 'boto3', 'langchain_aws', 'pyarrow'} & set(sys.modules)))"
    done = _run(script)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr[-2000:]
