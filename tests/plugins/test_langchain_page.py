"""docs/langchain.md, tried: its examples run one after the other in the small world's folder."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.pipeline.config import RagConfig
from serving.pipeline.langchain import as_runnable
from tests.support.world import CONFIG, World

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "langchain.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
[CONFIGURATION] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_pages_examples_run_in_their_order(world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {}
    *forth, back = EXAMPLES
    capsys.readouterr()
    for example in forth:
        exec(compile(example, "docs/langchain.md", "exec"), names)
    said = capsys.readouterr().out
    for words in ("4 years", "hr/notice.md", "XT-550", "'input_tokens'", "hr/leave.md"):
        assert words in said

    (world.root / "company_search.py").write_text(back)
    monkeypatch.setattr(sys, "path", [*sys.path, str(world.root)])
    chosen = {**CONFIG, **yaml.safe_load(CONFIGURATION)}
    (world.root / "back.yaml").write_text(yaml.safe_dump(chosen))
    try:
        pipeline = asyncio.run(names["open_pipeline"]("back.yaml", "datasets/corpora/tiny"))
        trace = as_runnable(pipeline, output="trace").invoke("After how many years is a laptop replaced?")
    finally:
        sys.modules.pop("company_search", None)
    assert "4 years" in trace.answer.text
    assert "it/laptops.md" in {hit.chunk.document_id for hit in trace.hits}
    assert all(len(hit.chunk.span) == len(hit.chunk.text) for hit in trace.hits)
    assert RagConfig.parse(chosen).flat()["retrieve.search.corpus"] == "datasets/corpora/tiny"
