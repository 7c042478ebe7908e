"""The public face: every verb of the harness as a method."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from harness.audit import audited_act
from harness.calibrate.verify import Verification
from harness.comparison.values import ReportComparison
from harness.gate.gate import Gate, load_gate
from harness.gate.run_gate import GateResult, write_decision
from harness.git_commit import ROOT, commit
from harness.golden.load import golden_sets, load_golden
from harness.golden.sets import GoldenSet
from harness.index_build.build import ShardedIndex, build_sharded
from harness.index_build.connect import connect_workers
from harness.progress import TaskProgress, silent
from harness.project import ask as asking
from harness.project import calibrate as calibrating
from harness.project import compare as comparing
from harness.project import evaluate as evaluating
from harness.project import sweep as sweeping
from harness.project.arguments import file_path, names, question_text
from harness.project.contexts import ContextChoice, OpenContexts
from harness.project.evaluate import EvaluationOptions, SplitName
from harness.project.gates import (
    RecordedChampion,
    decide_gate,
    load_gates,
    open_gate,
    record_champions,
    record_promoted,
    recorded_champions,
)
from harness.project.named_result import named_result
from harness.project.reevaluation import FinishedReevaluation, reevaluate_channel
from harness.project.registration import register_promoted
from harness.promotion.candidate import Promotable, find_candidate
from harness.promotion.decisions import GATES, RequiredGate, decisions_of, find_decisions, read_decision, required_gates
from harness.promotion.promote import Promotion, promote
from harness.resolve import NamedConfig, config_of, resolve
from harness.results.report import EvalReport
from harness.settings import HarnessSettings, read_settings
from harness.stage_store.base import HitCounts
from harness.stats import MARGIN
from harness.sweep.cost.sweep_estimate import SweepEstimate
from harness.sweep.experiment import Experiment
from harness.sweep.folder import SweepFolder, experiment_of, new_sweep_folder
from harness.sweep.run import run_sweep
from harness.sweep.setup import SweepOptions, SweepSetup, open_sweep
from harness.sweep.verdict import SweepResult
from harness.tracking.logged import find_run
from serving.audit.record import Detail
from serving.pipeline.answer.answerer import Emit
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, TouchstoneError
from serving.pipeline.guard.placeholders import Placeholders
from serving.pipeline.index.build import index_uri, open_index_at
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.index.manifest import IndexManifest
from serving.pipeline.packages import add_current_folder
from serving.pipeline.types import Query, Trace
from serving.release.bundle import open_releases
from serving.release.channel import check_channel, find_channel
from serving.release.evidence import ForcedPromotion


def _labels(labels: str | Path | Sequence[str | Path]) -> list[Path]:
    """One file of labels or several."""
    return [file_path("A file of labels", one) for one in ([labels] if isinstance(labels, str | Path) else labels)]


def _files(gates: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files of one gate or of several."""
    return [file_path("A gate", gate) for gate in ([gates] if isinstance(gates, str | Path) else gates)]


class Project:
    """A folder with documents, golden sets, prompts and experiments, and everything that can be done with them.

    What takes time is async: `await` it, or give it to `touchstone.run`. Where a configuration is asked for, give none (or
    `"default"`), a mapping, a `RagConfig`, a `.yaml` file, a run's name, a release's digest or `"channel:<name>"`; where an app will
    do as well, a function of a question, a LangChain Runnable, `"module:attribute"` or `"https://…"`.

    Nothing is written but what was computed (the stage store, indexes) and looks at a holdout, unless a `name` says where; a sweep
    always is its folder.
    """

    def __init__(self, settings: HarnessSettings, progress: TaskProgress = silent, folder: Path = Path()) -> None:
        add_current_folder()
        self.settings = settings
        self.progress = progress
        self.folder = folder  # below which experiments/gates are looked for
        self._contexts = OpenContexts(settings, progress)

    @classmethod
    def open(cls, folder: str | Path | None = None, *, progress: TaskProgress = silent, **settings: Any) -> "Project":
        """The project in a folder (default: this one), with its `.env` file; settings given here come before the environment's."""
        place = None if folder is None else file_path("A project's folder", folder).absolute()
        if place and not place.is_dir():
            raise ConfigError(f"No folder {str(place)!r}. A project is a folder with datasets/ and prompts/, as a checkout has them.")
        return cls(read_settings(place, **settings), progress, place or Path())

    def __repr__(self) -> str:
        known = ", ".join(golden_sets(self.settings.datasets)) or "no golden set"
        return f"<Project {self.settings.datasets.absolute().parent}: {known}>"

    # ---- look up

    def config(self, what: object = None, changes: Mapping[str, Any] | None = None) -> RagConfig:
        """A configuration, complete, with other values at dotted paths: `config("default", {"retrieve.top_k": 3})`."""
        config = config_of(resolve(what, self.settings), self.settings).config
        if not isinstance(changes or {}, Mapping):
            raise ConfigError(f"Changes are a mapping of dotted paths, such as {{'retrieve.top_k': 3}}, not {changes!r}.")
        return config.replace(changes) if changes else config

    def golden(self, name: str = "") -> GoldenSet:
        """A golden set by name, of its newest version where none is given; without a name the project's usual one."""
        return load_golden(self.settings.datasets, self.settings.usual_golden if name == "" else name)

    def corpus(self, name: str = "") -> Corpus:
        """The documents of a corpus, by name or by path; without either the project's usual one."""
        return self._contexts.get(ContextChoice(name)).corpus

    @property
    def counts(self) -> HitCounts | None:
        """Hits and misses of the stage store."""
        return self._contexts.counts

    # ---- act

    async def ask(
        self,
        question: str | Query,
        what: object = None,
        *,
        corpus: str = "",
        emit: Emit | None = None,
        placeholders: Placeholders | None = None,
    ) -> Trace:
        """Ask one question; `emit` receives the answer piece by piece. Nothing stored is used: each answer is computed.

        The trace has placeholders for the personal data that the guard masks; `placeholders.restore(trace.answer.text)` is the answer.
        """
        query = question if isinstance(question, Query) else Query(question)
        question_text(query.text)
        resolved = resolve(what, self.settings)
        if isinstance(resolved, NamedConfig) and resolved.release:
            return await asking.ask_release(resolved, query, self.settings, emit, placeholders)
        return await asking.ask(resolved, query, self._contexts.get(ContextChoice(corpus, store=False)), emit, placeholders)

    async def index(self, what: object = None, *, corpus: str = "") -> IndexManifest:
        """Build the index ahead of time, or find it there."""
        context = self._contexts.get(ContextChoice(corpus, store=False))
        return (await context.factory.index(self.config(what))).manifest

    async def index_on_ray(self, what: object = None, *, corpus: str = "", workers: int = 0) -> ShardedIndex:
        """The same by the workers of a Ray cluster, or of this machine; a build that was killed goes on. Workers: 0 for one per core."""
        ray_workers = connect_workers(self.settings.ray_address, workers)
        return await build_sharded(
            self.config(what), corpus or self.settings.usual_corpus, self.settings, ray_workers, progress=self.progress
        )

    async def verify_index(self, what: object = None, *, corpus: str = "") -> IndexManifest:
        """Check every file and every row of an existing index; an `IntegrityError` says what is damaged, and how to mend it."""
        documents, settings = self._contexts.get(ContextChoice(corpus, store=False)).corpus, self.settings
        return (await open_index_at(index_uri(self.config(what), documents.digest, settings), settings, whole=True)).manifest

    async def evaluate(
        self,
        what: object = None,
        golden: str = "",
        split: SplitName = "tune",
        *,
        metrics: Sequence[str] = (),
        judge: str = "",
        cases: int | None = None,
        concurrency: int = 4,
        name: str = "",
        tracking: bool = False,
        store: bool = True,
        replay_only: bool = False,
    ) -> EvalReport:
        """Score a configuration or an app on a golden set. With a `name` it is stored as `reports/runs/<name>/`."""
        options = EvaluationOptions(names("metrics", metrics), judge, concurrency, store, replay_only)
        done = await self.finished_evaluation(what, golden, split, options, cases=cases, name=name, tracking=tracking)
        return done.report

    async def finished_evaluation(
        self,
        what: object,
        golden: str,
        split: SplitName,
        options: EvaluationOptions,
        *,
        cases: int | None = None,
        name: str = "",
        tracking: bool = False,
    ) -> evaluating.FinishedEvaluation:
        """An evaluation, with the files and the run that it became."""
        resolved, known = resolve(what, self.settings), self.golden(golden)
        return await evaluating.evaluate(resolved, known, split, self._contexts, options, cases=cases, name=name, tracking=tracking)

    async def compare(
        self,
        a: object,
        b: object,
        golden: str = "",
        split: SplitName | None = None,
        *,
        metrics: Sequence[str] = (),
        judge: str = "",
        cases: int | None = None,
        margin: float = MARGIN,
        concurrency: int = 4,
        name: str = "",
        store: bool = True,
        replay_only: bool = False,
        timing: bool = False,
    ) -> ReportComparison:
        """Compare B with A on the same questions; both may also be earlier evaluations, as reports or by a run's name.

        B is equivalent by a score between 0 and 1 where the interval of the difference lies inside ±`margin`.
        With `timing` two configurations answer some of them again, in turn and one at a time, and their times are compared.
        """
        sides = (resolve(a, self.settings), resolve(b, self.settings))
        options = EvaluationOptions(names("metrics", metrics), judge, concurrency, store, replay_only)
        choice = comparing.ComparedCases(golden, split, cases, margin)
        return await comparing.compare(sides, choice, self.settings.usual_golden, self._contexts, options, name, timing)

    async def gate(
        self,
        gate: str | Path | Gate,
        what: object = None,
        *,
        champion: Path | None = None,
        name: str = "",
        store: bool = True,
        replay_only: bool = False,
    ) -> GateResult:
        """Judge a configuration, or an earlier evaluation, by a gate. With a `name` it is stored as `reports/gates/<name>/`."""
        chosen = gate if isinstance(gate, Gate) else load_gate(file_path("A gate", gate))
        with ExitStack() as stack:
            place = stack.enter_context(named_result(self.settings, "gates", name)) if name else None
            file = "" if isinstance(gate, Gate) else str(gate)
            context = open_gate(chosen, self._contexts, file=file, store=store, replay_only=replay_only)
            result = await decide_gate(context, resolve(what, self.settings), self._contexts, champion)
            if place is not None:
                write_decision(result.decision, result.report, place.draft)
                place.publish()
        return result

    async def record_champion(self, what: object = None, gates: str | Path | Sequence[str | Path] = ()) -> list[RecordedChampion]:
        """Record what ships today, so that gates compare candidates with it; by default for all of experiments/gates."""
        chosen = load_gates(_files(gates), self.folder / GATES)
        subject = resolve(what, self.settings)
        with audited_act(self.settings, "champion.set", ", ".join(gate.name for gate in chosen)) as result:
            champions = await record_champions(chosen, subject, self._contexts)
            result |= {"config": champions[0].report.header.config_digest if champions else "", "files": len(champions)}
        return champions

    def champions(self, gates: str | Path | Sequence[str | Path] = ()) -> list[RecordedChampion]:
        """The champion of each gate's cases."""
        return recorded_champions(load_gates(_files(gates), self.folder / GATES), self._contexts)

    async def calibrate(
        self,
        stage: str,
        labels: str | Path | Sequence[str | Path],
        *,
        level: float,
        confidence: float = 0.95,
        kind: str = "",
        params: Mapping[str, Any] | None = None,
        name: str = "",
    ) -> calibrating.FinishedCalibration:
        """Choose the threshold of a stage (`router`, `cache`, `guard`) from files of labels, or find that none is safe.

        The artefact is stored below home; with a `name` the report is stored as `reports/calibrations/<name>/`. `params` say how the
        stage's labels are read and scored.
        """
        files = calibrating.label_files(stage, _labels(labels), params or {})
        limit = {"level": level, "confidence": confidence, "kind": kind}
        return await calibrating.calibrate_stage(files, limit, self.settings, self.progress, name=name)

    async def verify_calibration(
        self, stage: str, labels: str | Path | Sequence[str | Path], artefact: str, *, params: Mapping[str, Any] | None = None
    ) -> Verification:
        """Whether the guarantee of a threshold's artefact, by digest or path, holds on newer labels."""
        files = calibrating.label_files(stage, _labels(labels), params or {})
        return await calibrating.verify_stage(files, artefact, self.settings, self.progress)

    async def estimate(
        self, experiment: str | Path | Mapping[str, Any] | Experiment, *, store: bool = True, replay_only: bool = False
    ) -> SweepEstimate:
        """What a sweep would cost: tokens, dollars, time. No hosted model is asked for it."""
        return await self.open_sweep(sweeping.read_experiment(experiment), store=store, replay_only=replay_only).estimate()

    def open_sweep(
        self,
        experiment: Experiment,
        *,
        earlier: SweepFolder | None = None,
        store: bool = True,
        replay_only: bool = False,
        tracking: bool = False,
    ) -> SweepSetup:
        """Read and check all that a sweep needs, before it is priced and begun."""
        options = SweepOptions(store, replay_only, tracking, lambda done, total: self.progress("indexing", done, total))
        return open_sweep(experiment, self.settings, options, earlier)

    async def sweep(
        self,
        experiment: str | Path | Mapping[str, Any] | Experiment | None = None,
        *,
        folder: str | Path | None = None,
        trials: int | None = None,
        workers: int | None = None,
        budget: float | None = None,
        yes: bool = False,
        tracking: bool = False,
        store: bool = True,
        replay_only: bool = False,
    ) -> SweepResult:
        """Search on the tune split, prove the best on the holdout; `folder` goes on with a sweep that was begun there.

        It is written as it goes to `reports/sweeps/<experiment>-<time>/`, with report and winner. Hosted models are asked only with `yes`.
        """
        if experiment is None and folder is None:
            raise ConfigError("Name an experiment file, such as experiments/quickstart.yaml, or the folder of a sweep to go on with.")
        earlier = SweepFolder(file_path("A sweep", folder)) if folder is not None else None
        chosen = experiment_of(earlier.record()) if earlier else sweeping.read_experiment({} if experiment is None else experiment)
        chosen = sweeping.experiment_with(chosen, trials=trials, workers=workers, engine="", budget=budget)
        setup = self.open_sweep(chosen, earlier=earlier, store=store, replay_only=replay_only, tracking=tracking)
        estimate = await setup.estimate()
        sweeping.refuse_unpaid(estimate, setup, yes=yes)
        where = earlier or new_sweep_folder(self.settings.reports, chosen.name, datetime.now(UTC))
        return await run_sweep(setup, where, estimate, observer=sweeping.ProjectObserver(where.path, self.progress))

    async def reevaluate(self, channel: str = "dev", *, gate: str | Path | None = None) -> FinishedReevaluation:
        """Evaluate what a channel serves again, on the questions of the gate that it was promoted by (or of another).

        It is compared with the evaluation of its promotion; what came of it is a report, and one more document of the release's evidence.
        """
        file = file_path("A gate", gate) if gate else None
        check_channel(channel)
        with audited_act(self.settings, "channel.evaluate", channel) as result:
            done = await reevaluate_channel(channel, self._contexts, gate_file=file, folder=self.folder)
            result |= {"release": done.channel.stable, "evidence": done.evidence, "passed": done.result.passed}
        return done

    def candidate(self, word: str | Path | None = None, *, corpus: str = "") -> Promotable:
        """What could be promoted by this word: see `promote`."""
        name = "" if word is None else str(file_path("A candidate", word))
        return find_candidate(name, corpus, self.settings, partial(find_run, settings=self.settings))

    async def promote(
        self,
        candidate: str | Path | Promotable | None = None,
        *,
        channel: str = "dev",
        gate: str | Path | None = None,
        decision: str | Path | None = None,
        corpus: str = "",
        force: bool = False,
        why: str = "",
    ) -> Promotion:
        """Make a configuration that passed its gate a release, add its evidence, and point a channel at both.

        The candidate is a sweep's `winner.json` or name (default: the only one there could be meant), a `.yaml` file with its corpus, an
        evaluation by its name, a run of MLflow by its id or name, or a release by its digest or channel. The decision is one of those
        below `reports/gates`, one that is named beside them, or of a release one that its evidence holds. Another gate than the channel's
        own counts for `dev` only. What was promoted is registered with MLflow, and recorded as the champion of its gate's cases; what was
        forced is not the champion.
        """
        if why and not force:
            raise ConfigError("--why says why a promotion is forced: write --force too, or leave it out.")
        settings = self.settings
        check_channel(channel)
        chosen = candidate if isinstance(candidate, Promotable) else self.candidate(candidate, corpus=corpus)
        required = required_gates(channel, file_path("A gate", gate) if gate else None, settings, self.folder)
        before = find_channel(open_releases(settings.releases, settings), channel)
        seen = (before.stable, before.revision) if before else ("", 0)
        asked: dict[str, Detail] = {"candidate": chosen.source, "from": seen[0], "revision": seen[1], "forced": force, "why": why}
        with audited_act(settings, "channel.promote", channel, asked) as result:
            done = await self._promoted(chosen, channel, required, decision, why if force else None)
            result |= {"to": done.channel.stable, "revision": done.channel.revision, "evidence": done.channel.evidence}
        return done

    async def _promoted(
        self, chosen: Promotable, channel: str, required: Sequence[RequiredGate], decision: str | Path | None, forced: str | None
    ) -> Promotion:
        settings = self.settings
        done = await promote(
            chosen,
            factory=self._contexts.get(ContextChoice(chosen.corpus, store=False)).factory,
            storage=open_releases(settings.releases, settings),
            channel=channel,
            gates=required,
            decisions=[
                *([read_decision(file_path("A decision", decision))] if decision else []),
                *find_decisions(settings.reports),
                *(decisions_of(chosen.release) if chosen.release else []),
            ],
            forced=None if forced is None else ForcedPromotion(who=settings.promoter, why=forced),
            who=settings.promoter,
            git_commit=commit(ROOT),
        )
        done = replace(done, registered=register_promoted(done.release.digest, settings).words)
        if done.proof is None:
            return done
        try:
            gates = [one.gate for one in required] + [load_gate(path) for path in sorted((self.folder / GATES).glob("*.yaml"))]
            subject = resolve(done.release.digest if chosen.release else chosen.config, settings)
            champions = await record_promoted(done.proof, subject, gates, self._contexts)
        except TouchstoneError as error:  # it is promoted all the same
            return replace(done, unrecorded=str(error))
        return replace(done, champions=tuple(champion.path for champion in champions))
