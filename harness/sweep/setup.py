"""Everything a sweep needs, opened and checked: its questions, its documents, its worker, and what earlier processes found."""

import importlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.evaluation.context import open_corpus
from harness.gate.champion import champion_path
from harness.golden.load import load_golden
from harness.golden.sets import GoldenSet
from harness.settings import HarnessSettings, settings_overrides
from harness.stage_store.endpoint import endpoints_of
from harness.sweep.cost.sweep_estimate import SweepEstimate, estimate_sweep
from harness.sweep.engines import ENGINES
from harness.sweep.engines.base import Engine, WorkerPlan
from harness.sweep.engines.worker import Worker, make_worker
from harness.sweep.experiment import EngineChoice, Experiment
from harness.sweep.folder import SweepFolder, refuse_changed
from harness.sweep.scorable import refuse_unscorable
from harness.sweep.search import StartingPoint, starting_points
from harness.sweep.space.bounds import SpaceModels
from harness.sweep.trial import Trial
from serving.pipeline.config import RagConfig, load_config
from serving.pipeline.errors import ConfigError, PromptError
from serving.pipeline.progress import Progress
from serving.pipeline.redact import without_password


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """How a sweep is run, beside what it asks."""

    store: bool = True
    replay_only: bool = False
    tracking: bool = True
    index_progress: Progress | None = None  # receives the progress of an index build


@dataclass(frozen=True)
class SweepSetup:
    """What a sweep stands on."""

    experiment: Experiment
    settings: HarnessSettings
    options: SweepOptions
    golden: GoldenSet
    digests: Mapping[str, str]  # of what must not change while it runs
    champion: RagConfig | None
    plan: WorkerPlan
    worker: Worker  # of this process
    earlier: SweepFolder | None = None  # of the sweep that is gone on with

    @property
    def starts(self) -> list[StartingPoint]:
        """What is tried before the search."""
        return starting_points(self.experiment, self.champion)

    async def estimate(self) -> SweepEstimate:
        """What it will cost from here on; no hosted model is asked for it."""
        finished = self.earlier.finished_count() if self.earlier else 0
        configs = [start.config for start in self.starts]
        return await estimate_sweep(self.experiment, self.worker.factory, self.golden, configs, finished)

    def engine(self) -> Engine:
        """The engine of the experiment, not started yet."""
        return connect_engine(self.experiment.engine, self.plan, self.worker)

    def refuse_mixed(self, finished: Sequence[Trial]) -> None:
        """A `ConfigError` where a finished trial was scored by other prompts, code or metrics than later ones would be."""
        versions, judge = self.worker.evaluator.versions, self.worker.evaluator.judge
        for trial in finished:
            header = trial.report.header
            changed = [
                f"{name} {header.metric_versions[name]} → {version}"
                for name, version in versions.items()
                if name in header.metric_versions and header.metric_versions[name] != version
            ]
            now = self._digest_now(trial)
            if header.config_digest != now:
                changed.insert(0, f"its configuration digest {header.config_digest} → {now}: a prompt, a plug-in's version or a default")
            if header.judge != judge:
                changed.append(f"judge {header.judge or 'none'} → {judge or 'none'}")
            if changed:
                what = "; ".join(changed)
                raise ConfigError(
                    f"Trial {trial.number} was scored by what is no longer there ({what}). Put it back, or begin a new sweep."
                )

    def _digest_now(self, trial: Trial) -> str:
        """The digest that a trial would have now; one that could not be tried at all has none, then as now."""
        if not trial.report.header.config_digest:
            return ""
        try:
            return self.worker.factory.digest(trial.config)
        except PromptError as error:
            return f"none ({error})"


def open_sweep(
    experiment: Experiment, settings: HarnessSettings, options: SweepOptions | None = None, earlier: SweepFolder | None = None
) -> SweepSetup:
    """Read and check all that a sweep needs; `earlier` is the folder of the one that is gone on with."""
    options = options or SweepOptions()
    if experiment.decides_by_time and options.replay_only:
        raise ConfigError("--replay-only measures no time, and an objective or a constraint is one. Leave it out, or take that out.")
    golden = load_golden(settings.datasets, experiment.golden)
    corpus = experiment.corpus or golden.card.corpus
    digests = {"golden_digest": golden.digest, "corpus_digest": open_corpus(corpus, settings).digest}
    record = earlier.record() if earlier else None
    champion = _recorded_champion(settings, golden) if record is None else record.champion_config
    digests["endpoints"] = _endpoints(experiment, champion, settings)
    if record:
        refuse_changed(record, digests)
    workers = experiment.engine.worker_count
    plan = WorkerPlan(
        corpus,
        experiment.metrics,
        experiment.judge,
        1 if experiment.decides_by_time else experiment.concurrency,
        options.store,
        options.replay_only,
        computed=experiment.decides_by_time,
        began_s=time.time(),
        limit_shares=1 if workers == 1 else workers + 1,  # this process builds the indexes
        settings=settings_overrides(settings),
    )
    worker = make_worker(plan, options.index_progress)
    refuse_unscorable(experiment, golden, worker.evaluator.tools)
    return SweepSetup(experiment, settings, options, golden, digests, champion, plan, worker, earlier)


def connect_engine(choice: EngineChoice, plan: WorkerPlan, worker: Worker) -> Engine:
    """An engine by its name; `worker` is that of this process."""
    module, _, name = ENGINES[choice.name].partition(":")
    try:
        engine: Engine = getattr(importlib.import_module(module), name)(choice, plan, worker)
    except ImportError as error:
        raise ConfigError(
            f"Engine {choice.name!r} needs a package that is not installed ({error.name}). Run: uv sync --extra ray"
        ) from None
    return engine


def _endpoints(experiment: Experiment, champion: RagConfig | None, settings: HarnessSettings) -> str:
    """Where hosted models of the space are asked, if not at their provider's own place."""
    models = SpaceModels.of(experiment, [start.config for start in starting_points(experiment, champion)])
    names = [*models.chats, *models.embedders, *models.rerankers]
    return without_password(", ".join(sorted({place for name in names for place in endpoints_of(name, settings)})))


def _recorded_champion(settings: HarnessSettings, golden: GoldenSet) -> RagConfig | None:
    """The configuration recorded as champion on this set's holdout."""
    path = champion_path(settings.champion_folder, golden.id, "holdout").with_suffix(".yaml")
    return load_config(path) if path.is_file() else None
