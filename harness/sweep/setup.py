"""Everything a sweep needs, opened: its questions, its documents, its engine, its run, and what earlier processes found."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from harness.evaluation.context import open_corpus
from harness.gate.champion import champion_path
from harness.golden.load import load_golden
from harness.golden.sets import GoldenSet, HoldoutSplit, TuneSplit
from harness.settings import HarnessSettings, otherwise
from harness.stage_store.endpoint import endpoints_of
from harness.sweep.cost.budget import Budget, SpendingFile
from harness.sweep.cost.sweep_estimate import SweepEstimate, SweepEstimator
from harness.sweep.dispatcher import Dispatcher
from harness.sweep.engines import ENGINES
from harness.sweep.engines.base import Engine, Plan
from harness.sweep.engines.worker import Worker, make_worker
from harness.sweep.experiment import EngineChoice, Experiment
from harness.sweep.folder import Begun, SweepFolder, refuse_changed
from harness.sweep.progress import Progress
from harness.sweep.run import Sweep, starting_points
from harness.sweep.search import Search
from harness.sweep.space.bounds import SpaceBounds
from harness.sweep.trial import Trial
from harness.tracking import tracker
from harness.tracking.base import Run
from serving.pipeline.config import RagConfig, load_config
from serving.pipeline.errors import ConfigError, PromptError


@dataclass(frozen=True)
class Ready:
    """A sweep that may run."""

    sweep: Sweep
    run: Run
    golden: GoldenSet
    tune: TuneSplit
    look: Callable[[], HoldoutSplit]
    corpus: str


@dataclass(frozen=True, slots=True)
class Ways:
    """How a sweep is run, beside what it asks."""

    store: bool = True
    replay_only: bool = False
    tracking: bool = True


@dataclass(frozen=True)
class Opened:
    """What a sweep stands on, before anything is begun."""

    experiment: Experiment
    settings: HarnessSettings
    ways: Ways
    golden: GoldenSet
    digests: Mapping[str, str]
    champion: RagConfig | None
    plan: Plan
    here: Worker
    earlier: SweepFolder | None = None

    async def estimate(self) -> SweepEstimate:
        """What it will cost from here on; no hosted model is asked for it."""
        configs = tuple(first.config for first in starting_points(self.experiment, self.champion))
        finished = self.earlier.count() if self.earlier else 0
        return await SweepEstimator(self.experiment, self.here.factory, self.golden, configs, finished).estimate()


def open_sweep(
    experiment: Experiment, settings: HarnessSettings, ways: Ways, building: Callable[[int, int], None], earlier: SweepFolder | None = None
) -> Opened:
    """Read and check all that a sweep needs; `earlier` is the folder of the one that is gone on with."""
    golden = load_golden(settings.datasets, experiment.golden)
    name = experiment.corpus or golden.card.corpus
    digests = {"golden_digest": golden.digest, "corpus_digest": open_corpus(name, settings).digest}
    begun = earlier.begun() if earlier else None
    champion = _champion(settings, golden) if begun is None else RagConfig.parse(begun.champion) if begun.champion else None
    digests["endpoints"] = _endpoints(experiment, champion, settings)
    if begun:
        refuse_changed(begun, digests)
    workers = experiment.engine.at_once
    shares = 1 if workers == 1 else workers + 1  # this process builds the indexes
    plan = Plan(
        name, experiment.metrics, experiment.judge, experiment.concurrency, ways.store, ways.replay_only, shares, otherwise(settings)
    )
    return Opened(experiment, settings, ways, golden, digests, champion, plan, make_worker(plan, building), earlier)


@contextmanager
def begin(
    opened: Opened,
    folder: SweepFolder,
    estimate: SweepEstimate,
    *,
    tell: Callable[[Progress], None],
    announce: Callable[[Trial], None],
) -> Iterator[Ready]:
    """Begin it in a folder, or go on with it there; whoever may ask hosted models anew has agreed to pay for them."""
    experiment, settings, ways, golden, name = opened.experiment, opened.settings, opened.ways, opened.golden, opened.plan.corpus
    champion, plan, here = opened.champion, opened.plan, opened.here
    earlier, finished = (folder.begun(), folder.finished()) if folder.exists() else (None, [])
    refuse_mixed(finished, here)
    agreed = not ways.replay_only or (earlier is not None and earlier.agreed)
    with tracker(settings, on=ways.tracking).run(folder.path.name, earlier.run_id if earlier else "") as run:
        known_by = run.id if ways.tracking else ""  # a run in memory cannot be gone on with
        if earlier is None:
            started = datetime.now(UTC).isoformat(timespec="seconds")
            asked = experiment.model_dump(mode="json")
            told = None if champion is None else champion.model_dump(mode="json")
            priced = estimate.model_dump(mode="json")
            folder.begin(
                Begun(
                    experiment=asked,
                    **opened.digests,
                    corpus=name,
                    champion=told,
                    run_id=known_by,
                    started_at=started,
                    estimate=priced,
                    agreed=agreed,
                )
            )
        else:
            changed = {"run_id": known_by or earlier.run_id, "agreed": agreed}
            if earlier != (now := earlier.model_copy(update=changed)):
                folder.begin(now)
            run.forget({one.run_id for one in finished})
        engine = connect_engine(experiment.engine, plan, here)
        budget = Budget(experiment.budget_usd, estimate.case_usd, estimate.proof_usd, estimate.index_usd, SpendingFile(folder.path))
        progress = Progress(experiment.trials, spent_usd=budget.spent_usd)
        progress.count(here.counted())  # the estimate may have built the base's index
        search = Search(experiment, Dispatcher(engine, budget, progress, experiment.block, tell), folder, run, announce, finished)

        def look() -> HoldoutSplit:
            return golden.holdout(why=f"sweep {folder.path.name}", ledger=settings.holdout_ledger)

        yield Ready(Sweep(search, champion), run, golden, golden.tune(), look, name)


def refuse_mixed(finished: Sequence[Trial], here: Worker) -> None:
    """A `ConfigError` where a finished trial was scored by other prompts, code or metrics than later ones would be."""
    versions, judge = here.evaluator.versions, here.evaluator.judge
    for one in finished:
        head = one.report.header
        changed = [
            f"{name} {head.metric_versions[name]} → {version}"
            for name, version in versions.items()
            if name in head.metric_versions and head.metric_versions[name] != version
        ]
        now = _digest_now(one, here)
        if head.config_digest != now:
            changed.insert(0, f"its configuration digest {head.config_digest} → {now}: a prompt, a plug-in's version or a default")
        if head.judge != judge:
            changed.append(f"judge {head.judge or 'none'} → {judge or 'none'}")
        if changed:
            what = "; ".join(changed)
            raise ConfigError(f"Trial {one.number} was scored by what is no longer there ({what}). Put it back, or begin a new sweep.")


def _digest_now(one: Trial, here: Worker) -> str:
    """The digest that a trial would have now; one that could not be tried at all has none, then as now."""
    if not one.report.header.config_digest:
        return ""
    try:
        return here.factory.digest(one.config)
    except PromptError as error:
        return f"none ({error})"


def connect_engine(choice: EngineChoice, plan: Plan, here: Worker) -> Engine:
    """The engine of an experiment."""
    module, _, name = ENGINES[choice.name].partition(":")
    try:
        engine: Engine = getattr(importlib.import_module(module), name)(choice, plan, here)
    except ImportError as error:
        raise ConfigError(
            f"Engine {choice.name!r} needs a package that is not installed ({error.name}). Run: uv sync --extra ray"
        ) from None
    return engine


def _endpoints(experiment: Experiment, champion: RagConfig | None, settings: HarnessSettings) -> str:
    """Where hosted models in reach are asked, if not at their provider's own place."""
    reach = SpaceBounds(experiment, tuple(first.config for first in starting_points(experiment, champion)))
    specs = [*reach.chats, *reach.embedders, *reach.rerankers]
    return ", ".join(sorted({place for spec in specs for place in endpoints_of(spec.name, settings)}))


def _champion(settings: HarnessSettings, golden: GoldenSet) -> RagConfig | None:
    """The configuration recorded as champion on this set's holdout."""
    path = champion_path(settings.champion_folder, golden.id, "holdout").with_suffix(".yaml")
    return load_config(path) if path.is_file() else None
