"""The context of evaluations, opened once: documents, prompts, stage store, pipeline factory, and the tools of metrics."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from harness.evaluation.evaluator import Evaluator
from harness.evaluation.factory import PipelineFactory
from harness.judges import connect_judge
from harness.judges.tools import EMBEDDER, Tools
from harness.settings import HarnessSettings, ambiguous, no_project
from harness.stage_store.base import StageStore
from harness.stage_store.embed import cached_embeddings
from harness.stage_store.open import open_stage_store
from serving.pipeline.artefacts import Artefacts
from serving.pipeline.errors import ConfigError
from serving.pipeline.index.corpus import Corpus, load_corpus
from serving.pipeline.progress import Progress
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec, near


@dataclass(frozen=True)
class EvaluationContext:
    """A corpus with its pipelines, the stage store behind them, and the tools of the metrics."""

    settings: HarnessSettings
    corpus: Corpus
    prompts: PromptLibrary
    stage_store: StageStore | None
    factory: PipelineFactory
    tools: Tools

    def evaluator(self, metrics: Sequence[str], concurrency: int = 4, *, part: bool = False) -> Evaluator:
        """An evaluator by these metrics; `part` where its reports become part of a larger one."""
        return Evaluator(metrics, concurrency, tools=self.tools, stage_store=self.stage_store, part=part)

    def with_release(self, prompts: PromptLibrary, artefacts: Artefacts | None) -> "EvaluationContext":
        """The same with the prompts and artefacts that a release carries."""
        return replace(self, prompts=prompts, factory=replace(self.factory, prompts=prompts, artefacts=artefacts))


def open_context(
    corpus: str,
    settings: HarnessSettings,
    *,
    judge: str = "",
    store: bool = True,
    replay_only: bool = False,
    began_s: float | None = None,
    index_progress: Progress | None = None,
) -> EvaluationContext:
    """Open a corpus by name or path, the stage store of the settings, and a judge by name (`local`, `llm:<provider>:<model>`)."""
    documents, prompts = open_corpus(corpus, settings), PromptLibrary(settings.prompts)
    stage_store = open_stage_store(settings, enabled=store, began_s=began_s)
    factory = PipelineFactory(settings, documents, prompts, index_progress, stage_store, replay_only)
    tools = open_tools(judge, settings, stage_store, replay_only=replay_only)
    return EvaluationContext(settings, documents, prompts, stage_store, factory, tools)


def open_corpus(name: str, settings: HarnessSettings) -> Corpus:
    """A corpus by name or by path."""
    return load_corpus(corpus_path(name, settings))


def corpus_path(name: str | Path, settings: HarnessSettings) -> Path:
    """Where a corpus lies: below the datasets, or at a path."""
    root = settings.datasets / "corpora"
    if name == "" == settings.usual_corpus:
        raise ambiguous("corpus", root, " with --corpus")
    if not isinstance(name, str | Path) or not str(name).strip():
        raise ConfigError(f"A corpus is a name, or the path of a folder or a .jsonl file, not {name!r}.")
    for path in (root / name, Path(name)):
        if path.exists():
            if root.is_dir() and root.resolve().is_relative_to(path.resolve()):
                raise ConfigError(
                    f"The corpus {str(name)!r} would be all that is in {path.resolve()}, with every corpus below it. Name one."
                )
            return path
    if not root.is_dir():
        raise ConfigError(f"No corpus {str(name)!r}: {no_project(root)} Or give the path of a folder of documents.")
    known = sorted(path.name for path in root.glob("*") if path.is_dir())
    raise ConfigError(f"No corpus {str(name)!r}.{near(str(name), known)} In {root}: {', '.join(known) or 'none'}; or give a folder's path.")


def open_tools(judge: str, settings: HarnessSettings, stage_store: StageStore | None, *, replay_only: bool = False) -> Tools:
    """The tools of metrics: MiniLM behind the stage store, and a judge by name (`local`, `llm:<provider>:<model>`)."""
    connect = partial(cached_embeddings, EMBEDDER, settings, stage_store) if stage_store else None
    if not judge:
        return Tools(settings, connect=connect)
    connected = connect_judge(judge, settings, PromptLibrary(settings.prompts, kind="judge"), stage_store, replay_only=replay_only)
    model = judge.removeprefix("llm:")
    return Tools(
        settings, judge=connected, judge_model=Spec(name=model) if model != judge else None, connect=connect, replay_only=replay_only
    )
