"""Contexts kept open, so that a second evaluation finds models and indexes ready; a changed document or prompt opens again."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.evaluation.context import EvaluationContext, corpus_path, open_context
from harness.progress import TaskProgress
from harness.settings import HarnessSettings
from harness.stage_store.base import HitCounts

Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class ContextChoice:
    """Which context is asked for."""

    corpus: str
    judge: str = ""
    store: bool = True
    replay_only: bool = False


@dataclass(frozen=True)
class OpenContexts:
    """The contexts opened so far."""

    settings: HarnessSettings
    progress: TaskProgress
    _known: dict[ContextChoice, tuple[Stamp, EvaluationContext]] = field(default_factory=dict)

    def get(self, choice: ContextChoice) -> EvaluationContext:
        """The context of a corpus, with what was opened for it before unless its documents or the prompts changed on disk."""
        choice = replace(choice, corpus=self.settings.usual_corpus) if choice.corpus == "" else choice
        stamp = tuple(_stamp(corpus_path(choice.corpus, self.settings))) + tuple(_stamp(self.settings.prompts))
        before, context = self._known.get(choice, ((), None))
        if context is None or before != stamp:
            context = open_context(
                choice.corpus,
                self.settings,
                judge=choice.judge,
                store=choice.store,
                replay_only=choice.replay_only,
                index_progress=lambda done, total: self.progress("indexing", done, total),
            )
            self._known[choice] = (stamp, context)
        return context

    @property
    def counts(self) -> HitCounts | None:
        """What the stage stores behind them were asked; nothing where there is none."""
        known = [context.stage_store.counts for _, context in self._known.values() if context.stage_store]
        total = HitCounts()
        for counts in known:
            for stage, numbers in counts.as_dict().items():
                total.add(stage, numbers["hits"], numbers["misses"], numbers["again"])
            total.damaged.update(counts.damaged)
        return total if known else None


def _stamp(root: Path) -> Iterator[tuple[str, int, int]]:
    """Every file of a folder with its size and the time of its last change."""
    for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
        if path.is_file():
            status = path.stat()
            yield str(path), status.st_size, status.st_mtime_ns
