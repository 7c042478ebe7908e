"""Opens what the settings and a few words name: the corpus, the stage store, a factory, what metrics need."""

from functools import partial
from pathlib import Path

from harness.evaluation.factory import Building, PipelineFactory
from harness.judges import connect_judge
from harness.judges.tools import EMBEDDER, Tools
from harness.settings import HarnessSettings
from harness.stage_store.base import StageStore
from harness.stage_store.embed import cached_embeddings
from serving.pipeline.errors import ConfigError
from serving.pipeline.index.corpus import Corpus, load_corpus
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec, near


def open_corpus(name: str, settings: HarnessSettings) -> Corpus:
    """A corpus by name or by path."""
    root = settings.datasets / "corpora"
    for path in (root / name, Path(name)):
        if path.exists():
            return load_corpus(path)
    known = sorted(path.name for path in root.glob("*") if path.is_dir()) if root.is_dir() else []
    raise ConfigError(f"No corpus {name!r}.{near(name, known)} Known: {', '.join(known) or 'none'}; or give a folder's path.")


def open_factory(
    corpus: Corpus, settings: HarnessSettings, stages: StageStore | None, building: Building | None = None, *, replay_only: bool = False
) -> PipelineFactory:
    """A factory over a corpus."""
    return PipelineFactory(settings, corpus, PromptLibrary(settings.prompts), building, stages, replay_only)


def open_tools(judge: str, settings: HarnessSettings, stages: StageStore | None, *, replay_only: bool = False) -> Tools:
    """What metrics may ask for: MiniLM, its vectors kept, and a judge by its words (`local`, `llm:<provider>:<model>`)."""
    connect = partial(cached_embeddings, EMBEDDER, settings, stages) if stages else None
    if not judge:
        return Tools(settings, connect=connect)
    asked = connect_judge(judge, settings, PromptLibrary(settings.prompts, kind="judge"), stages, replay_only=replay_only)
    model = judge.removeprefix("llm:")
    return Tools(settings, judge=asked, judge_model=Spec(name=model) if model != judge else None, connect=connect, replay_only=replay_only)
