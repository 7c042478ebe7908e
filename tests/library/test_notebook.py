"""The notebook runs from its first cell to its last, in a kernel of its own, on a few documents."""

import asyncio
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.world import REPOSITORY, World, rename

PATH = REPOSITORY / "docs" / "notebooks" / "first-hour.ipynb"

pytestmark = pytest.mark.filterwarnings(  # of the kernel's client: sockets that a closed kernel leaves to the collector
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)


def notebook() -> Any:
    return nbformat.read(PATH, as_version=4)  # type: ignore[no-untyped-call]


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = [cell for cell in notebook().cells if cell.cell_type == "code"]
    assert len(cells) > 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


@pytest.mark.slow
def test_the_notebook_runs_to_its_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rename(world.root, "techcorp")
    assert world.touchstone("golden", "seal", "techcorp/v1").code == 0
    here = world.root / "docs" / "notebooks"
    here.mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("IPYTHONDIR", str(world.root / "ipython"))
    client = NotebookClient(notebook(), timeout=300, kernel_name="python3", resources={"metadata": {"path": str(here)}})
    asyncio.run(client.async_execute())
    shown = [output for cell in client.nb.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in shown if output.output_type == "error"]
    pages = "".join(str(output.get("data", {}).get("text/html", "")) for output in shown)
    assert "EvalReport of configuration" in pages
    assert "SweepResult of first-hour" in pages
    assert "B is" in pages
    assert [path.name for path in Path(world.root / "reports").iterdir()] == ["sweeps"]
