"""Plug-ins of other packages: by entry point and by import path, what their digests say, and what is refused."""

import os
import sys
from pathlib import Path

import pytest

from harness.judges import JUDGES
from harness.metrics import METRICS, metric, metric_set
from serving.pipeline import packages
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError
from serving.pipeline.index import CHUNKERS
from serving.pipeline.models import CHAT_MODELS, EMBEDDINGS
from serving.pipeline.models.providers import PROVIDERS
from serving.pipeline.registry import Registry, Spec
from serving.pipeline.retrieve import RERANKERS
from serving.pipeline.types import Document
from tests.plugins.writing import forget, on_path, write_package
from tests.support.making import a_case, a_trace
from tests.support.world import World

CUTTER = '''
from typing import ClassVar
from serving.pipeline.index.chunkers.slices import slices
from serving.pipeline.registry import Params

class Lines:
    """One chunk a line."""
    version: ClassVar[str] = "3"
    class Params(Params):
        least: int = 1
    def __init__(self, params):
        self.params = params
    def split(self, document):
        start, ranges = 0, []
        for line in document.text.splitlines(keepends=True):
            ranges.append((start, start + len(line)))
            start += len(line)
        return slices(document, ranges, [])

class NoVersion:
    Params = Lines.Params
    def split(self, document): ...

class NoSplit:
    Params, version = Lines.Params, "1"

class Bare: ...

class TakesNothing(Lines):
    def __init__(self): ...

def function(): ...
'''
FAILING = """
from serving.pipeline.registry import Params as PlugInParams

class Rerank:
    version, Params = "1", PlugInParams
    def __init__(self, params, parts): ...

    async def rerank(self, query, hits, k):
        raise ValueError("two\\nlines")

class Cut:
    version = "1"

    class Params(PlugInParams):
        size: int = 9

    def __init__(self, params): ...

    def split(self, document):
        raise OSError("no disk")

class Never(Rerank):

    def __init__(self, params, parts):
        known = {}

        known["x"]
"""
SCORES = '''
from harness.metrics.base import Scoring
from serving.pipeline.registry import Params

class Politeness(Scoring):
    """Whether the answer says please."""
    version, label = "1", "politeness"
    def measure(self, trace, case):
        return self.give(float("please" in trace.answer.text))

class Early(Politeness):
    """The same of the first so many letters."""
    class Params(Params):
        k: int = 10
    def __init__(self, params):
        super().__init__(params)
        self.k = params.k
    def measure(self, trace, case):
        return self.give(float("please" in trace.answer.text[: self.k]))
'''
POINTS = "[touchstone.chunkers]\nlines = acmecut.lines:Lines\n[touchstone.metrics]\npoliteness = acmecut.scores:Politeness\n"
MODULES = {"acmecut/__init__.py": "", "acmecut/lines.py": CUTTER, "acmecut/scores.py": SCORES}


@pytest.fixture
def acme(tmp_path: Path):
    """An installed package with a chunker and a metric."""
    write_package(tmp_path, "acme-cut", "1.2.0", MODULES, POINTS)
    for table in (CHUNKERS, METRICS):
        table._outside.clear()
    with on_path(tmp_path):
        yield tmp_path
    for table in (CHUNKERS, METRICS):
        table._outside.clear()


def chunks(name: str, text: str = "one\n\ntwo\n") -> list[str]:
    return [chunk.text for chunk in CHUNKERS.build(Spec(name=name)).split(Document("d", text))]


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize("name", ["lines", "acmecut.lines:Lines"])
@pytest.mark.slow
def test_a_chunker_is_named_by_its_entry_point_or_by_its_import_path(name: str) -> None:
    assert chunks(name) == ["one", "two"]
    assert CHUNKERS.complete(Spec(name=name)).params == {"least": 1}
    assert CHUNKERS.version(Spec(name=name)) == "3 acme-cut 1.2.0"
    assert RagConfig.parse({"index": {"chunker": {"name": name}}}).index.chunker.params == {"least": 1}


@pytest.mark.usefixtures("acme")
def test_names_from_outside_are_listed_after_our_own_and_suggested() -> None:
    assert CHUNKERS.names() == [*CHUNKERS.own_names(), "lines"]
    with pytest.raises(ConfigError, match=r"No chunker 'lins'\. Did you mean 'lines'\?"):
        CHUNKERS.load("lins")


@pytest.mark.usefixtures("acme")
def test_nothing_of_another_package_is_imported_for_a_configuration_that_does_not_name_it() -> None:
    RagConfig.parse({})
    assert CHUNKERS.names()
    assert not [name for name in sys.modules if name.startswith("acmecut")]


def test_another_version_of_the_package_is_another_digest(acme: Path) -> None:
    digest = RagConfig.parse({"index": {"chunker": {"name": "lines"}}}).digest("index")
    write_package(acme, "acme-cut", "1.2.1", MODULES, POINTS)
    forget()
    assert RagConfig.parse({"index": {"chunker": {"name": "lines"}}}).digest("index") != digest


def test_the_source_of_an_editable_installation_is_in_the_digest(acme: Path) -> None:
    write_package(acme, "acme-cut", "1.2.0", MODULES, POINTS, listed=False)
    forget()
    before = CHUNKERS.version(Spec(name="lines"))
    assert before.startswith("3 acme-cut 1.2.0 source ")
    (acme / "acmecut/lines.py").write_text(CUTTER + "# changed\n")
    forget()
    assert CHUNKERS.version(Spec(name="lines")) != before


def test_a_module_of_the_current_folder_counts_by_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    (tmp_path / "heremod.py").write_text(CUTTER)
    with pytest.raises(ConfigError, match="there is no module 'heremod' on sys.path. Install"):  # as a server reads it
        chunks("heremod:Lines")
    packages.add_current_folder()
    try:
        assert chunks("heremod:Lines") == ["one", "two"]
        version = CHUNKERS.version(Spec(name="heremod:Lines"))
        assert version.startswith("3 source ")
        (tmp_path / "heremod.py").write_text(CUTTER + "\n")
        forget()
        assert CHUNKERS.version(Spec(name="heremod:Lines")) != version
    finally:
        CHUNKERS._outside.clear()
        sys.modules.pop("heremod", None)


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.cut:Mine", ["chunker 'nowhere.cut:Mine'", "no module 'nowhere'", "sys.path", os.getcwd()]),
        ("acmecut.nothing:Mine", ["no module 'acmecut.nothing'"]),
        ("acmecut.lines:Line", ["has no 'Line'", "Bare", "Lines"]),
        ("acmecut.lines:function", ["a class is needed, not function 'function'"]),
        ("acmecut.lines:Bare", ["Bare lacks Params", "version", "split", "has Params, version and split(document)", "TextSplitter"]),
        ("acmecut.lines:NoVersion", ["NoVersion lacks version (a text)."]),
        ("acmecut.lines:NoSplit", ["NoSplit lacks split."]),
    ],
)  # fmt: skip
def test_a_class_that_is_missing_or_lacks_something_is_one_line_that_says_what(name: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        CHUNKERS.load(name)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    with pytest.raises(ConfigError, match=r"my\.yaml: chunker"):
        RagConfig.parse({"index": {"chunker": {"name": name}}}, source="my.yaml")


@pytest.mark.usefixtures("acme")
def test_a_constructor_that_takes_something_else_is_told_what_it_is_given() -> None:
    with pytest.raises(ConfigError, match=r"TakesNothing cannot be made: .* Its constructor is given params"):
        CHUNKERS.build(Spec(name="acmecut.lines:TakesNothing"))


def test_a_module_that_fails_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "brokenmod.py").write_text("import nonesuch_package\n")
    (tmp_path / "raisingmod.py").write_text("raise ValueError('no\\nluck')\n")
    with on_path(tmp_path):
        with pytest.raises(ConfigError, match="the module 'brokenmod' needs 'nonesuch_package', which is not installed"):
            CHUNKERS.load("brokenmod:Lines")
        with pytest.raises(ConfigError, match="the module 'raisingmod' cannot be imported: ValueError: no luck"):
            CHUNKERS.load("raisingmod:Lines")


def test_a_name_of_ours_is_never_taken(tmp_path: Path) -> None:
    write_package(tmp_path, "rude", "1", {"rude.py": CUTTER}, "[touchstone.chunkers]\nsentence = rude:Lines\n")
    with on_path(tmp_path), pytest.raises(ConfigError, match="rude 1 offers the chunker 'sentence', a name of our own"):
        CHUNKERS.load("recursive")


def test_two_packages_with_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_package(tmp_path, name, "1", {f"{name}mod.py": CUTTER}, f"[touchstone.chunkers]\nlines = {name}mod:Lines\n")
    with on_path(tmp_path), pytest.raises(ConfigError, match=r"Two packages offer 'lines' in touchstone\.chunkers: one 1 and two 1"):
        CHUNKERS.names()


# what is a provider's model and what an import path


def test_every_provider_of_langchain_is_known_as_one() -> None:
    from langchain.chat_models.base import _BUILTIN_PROVIDERS as chat
    from langchain.embeddings.base import _BUILTIN_PROVIDERS as embeddings

    assert set(chat) | set(embeddings) <= PROVIDERS


@pytest.mark.parametrize("table", [CHAT_MODELS, EMBEDDINGS], ids=lambda table: table.kind)
@pytest.mark.parametrize("model", ["gpt-4o", "Mistral", "Qwen/Qwen3-8B", "MyDeployment", "amazon.nova-lite-v1:0", "llama3:8b"])
def test_a_providers_model_stays_one_whatever_its_name(table: Registry[object], model: str) -> None:
    for provider in PROVIDERS:
        assert table.load(f"{provider}:{model}").__name__ in ("LangChainChat", "LangChainEmbeddings", "BedrockChat", "BedrockEmbeddings"), (
            provider
        )


def test_a_model_of_a_class_is_told_from_a_providers() -> None:
    assert CHAT_MODELS.load("serving.pipeline.models.fakes:EchoChat").__name__ == "EchoChat"  # LangChain's, made to fit
    assert CHAT_MODELS.load("serving.pipeline.models.fakes:Echo").__name__ == "Echo"
    assert CHAT_MODELS.load("nonsense:Model").__name__ == "LangChainChat"  # no module of this name: LangChain will say what it thinks of it
    with pytest.raises(ConfigError, match="has no 'Nothing'"):
        CHAT_MODELS.load("json:Nothing")
    with pytest.raises(ConfigError, match="No chat model 'local:Nobody'"):
        CHAT_MODELS.load("local:Nobody")


# metrics and judges


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize("name", ["politeness", "acmecut.scores:Politeness"])
def test_a_metric_bears_the_name_that_was_asked_for_and_its_packages_version(name: str) -> None:
    scorer = metric(name)
    assert metric_set([name]) == (name,)
    assert (scorer.name, scorer.version) == (name, "1 acme-cut 1.2.0")
    score = scorer.score(a_trace(answer="Ask HR, please."), a_case())  # type: ignore[union-attr]
    assert (score.metric, score.value) == (name, 1.0)


@pytest.mark.usefixtures("acme")
def test_a_cutoff_is_for_metrics_whose_parameters_have_one() -> None:
    assert metric_set(["acmecut.scores:Early@5"]) == ("acmecut.scores:Early@5",)
    assert metric_set(["acmecut.scores:Early"]) == ("acmecut.scores:Early@10",)
    assert metric("acmecut.scores:Early@5").score(a_trace(answer="Ask, please."), a_case()).value == 0.0  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="write 'acmecut.scores:Politeness'"):
        metric_set(["acmecut.scores:Politeness@5"])


def test_a_judge_may_be_a_class_from_outside() -> None:
    assert JUDGES.load("harness.judges.scripted:ScriptedJudge").__name__ == "ScriptedJudge"
    with pytest.raises(ConfigError, match=r"Every judge has Params, version and judge\(task, values\)"):
        JUDGES.load("harness.judges.base:Verdict")


def test_a_reranker_needs_its_method() -> None:
    with pytest.raises(ConfigError, match=r"BaseDocumentCompressor"):
        RERANKERS.load("serving.pipeline.retrieve.rrf:ReciprocalRankFusion")


def test_a_table_without_group_and_protocol_has_its_own_names_only(tmp_path: Path) -> None:
    write_package(tmp_path, "acme-cut", "1", MODULES, POINTS)
    with on_path(tmp_path):
        table = Registry[object]("thing", {"one": "acmecut.lines:Lines"})
        assert table.names() == ["one"]
        assert table.version(Spec(name="one")) == "3"
        with pytest.raises(ConfigError, match="No thing 'acmecut.lines:Lines'"):
            table.load("acmecut.lines:Lines")


def test_a_part_that_raises_is_one_line_with_its_place(world: World) -> None:
    (world.root / "failing_parts.py").write_text(FAILING)
    rerank = "retrieve.reranker.name=failing_parts:"
    for words, place in (
        (["ask", "Why?", "--corpus", "tiny", "--set", f"{rerank}Rerank"], "9: ValueError: two lines"),
        (["index", "--corpus", "tiny", "--set", "index.chunker.name=failing_parts:Cut"], "20: OSError: no disk"),
        (["eval", "-g", "tiny", "--no-tracking", "--set", f"{rerank}Never"], "27: KeyError: 'x'"),
    ):
        said = world.touchstone(*words)
        assert (said.code, said.err.strip().splitlines()[-1]) == (2, f"touchstone: failing_parts, line {place}")
        assert "Traceback" not in said.err
