"""The same study with the stage store and without it: the same numbers to the last bit, and how much time the store saves.

    python bench/sweep_reuse.py PATH [--sizes 600:60 all:2] [--cases 24] [--trials 60] [--out reports/bench]

PATH is a folder with `corpus.jsonl` ({id, title, text}) and `golden.jsonl` ({id, question, answers, relevant_ids}). For each size, a
number of documents, three runs, each in a process of its own: everything computed in each trial, its index included; with an empty
store; and once more with that store. Where there is no time for all trials without a store, the number behind the colon ends that run
early; its total is then extrapolated.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from _bench import machine, machine_line, table, write_report

from harness.evaluation.context import open_corpus, open_tools
from harness.evaluation.evaluator import Evaluator
from harness.evaluation.factory import PipelineFactory
from harness.golden.sets import Split
from harness.results.report import EvalReport
from harness.settings import read_settings
from harness.sweep.engines.base import ScoredBlock, StoreCounts
from harness.sweep.experiment import Experiment
from harness.sweep.folder import SweepFolder
from harness.sweep.progress import SweepObserver
from harness.sweep.run import make_search
from harness.sweep.setup import SweepOptions, open_sweep
from harness.sweep.trial import Trial
from harness.tracking.memory import MemoryRun
from serving.pipeline.config import RagConfig
from serving.pipeline.models.connect import connect_embeddings
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec

NAME = "reuse"
METRIC = "doc_ndcg@10"
BASE = {"index": {"chunker": {"name": "recursive", "size": 900, "overlap": 100}}}
SPACE = {
    "index.chunker.size": {"choice": [400, 600, 900]},
    "retrieve.fusion.weight": {"float": [0.2, 0.8], "step": 0.1},
    "retrieve.candidates": {"choice": [20, 40]},
    "retrieve.top_k": {"int": [3, 9]},
    "route.router.pro_above": {"float": [0.1, 0.9], "step": 0.1},
    "answer.prompt.version": {"int": [1, 3]},
}


def study(trials: int, cases: int) -> Experiment:
    """The study; the same seed, sampler and pruner in every run."""
    fields = {"name": NAME, "golden": f"{NAME}/v1", "base": BASE, "space": SPACE, "objective": METRIC, "trials": trials, "cases": cases}
    return Experiment.model_validate({**fields, "finalists": 1, "concurrency": 4})


def furnish(source: Path, home: Path, documents: int, cases: int) -> dict[str, int]:
    """A golden set of so many questions and the documents they need, filled up with others to so many."""
    rows = {name: [json.loads(line) for line in (source / f"{name}.jsonl").open(encoding="utf-8")] for name in ("corpus", "golden")}
    rng = random.Random(7)
    rng.shuffle(rows["golden"])
    golden = rows["golden"][: 2 * cases + 20]  # some of them are for the holdout
    needed = {name for row in golden for name in row["relevant_ids"]}
    others = [row["id"] for row in rows["corpus"] if row["id"] not in needed]
    rng.shuffle(others)
    wanted = needed | set(others[: max(0, documents - len(needed))])
    corpus = [row for row in rows["corpus"] if row["id"] in wanted]
    (home / "source").mkdir(parents=True)
    for name, some in (("corpus", corpus), ("golden", golden)):
        (home / "source" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    command = [sys.executable, "-m", "harness", "golden", "import", "ids", str(home / "source"), "--name", NAME]
    subprocess.run(command, env=environment(home, home / "none"), check=True, stdout=subprocess.DEVNULL)
    return {"documents": len(corpus), "questions": len(golden)}


def environment(home: Path, store: Path) -> dict[str, str]:
    settings = {"DATASETS": home / "datasets", "HOME": store, "REPORTS": home / "reports", "PROMPTS": Path("prompts").absolute()}
    return os.environ | {f"TOUCHSTONE_{name}": str(place) for name, place in settings.items()} | {"PYTHONPATH": str(Path.cwd())}


# ---- one run, in a process of its own


class Enough(Exception):
    """As many trials as were asked for were run."""


class Afresh:
    """An engine that forgets everything between trials: indexes, vectors, models' memories."""

    workers = 1

    def __init__(self, experiment: Experiment, trials: int) -> None:
        self._trials = trials
        self._places = read_settings()
        self._corpus = open_corpus(NAME, self._places)
        self._folder = tempfile.TemporaryDirectory()
        self._evaluator = Evaluator(experiment.metrics, experiment.concurrency, tools=open_tools("", self._places, None))
        self._shop: PipelineFactory | None = None
        self._count = 0

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self._folder.cleanup()

    async def index(self, config: RagConfig) -> StoreCounts:
        """Begins every trial."""
        if self._count == self._trials:
            raise Enough
        shutil.rmtree(f"{self._folder.name}/{self._count}", ignore_errors=True)
        self._count += 1
        settings = self._places.model_copy(update={"indexes": f"{self._folder.name}/{self._count}"})
        self._shop = PipelineFactory(settings, self._corpus, PromptLibrary(settings.prompts))
        await self._shop.index(config)
        return {}

    async def score(self, config: RagConfig, cases: Split) -> ScoredBlock:
        assert self._shop is not None
        return ScoredBlock(await self._shop.evaluate(config, cases, self._evaluator))


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of a run, imports left out."""

    seconds: float
    cpu_seconds: float
    counts: dict[str, Any]
    trials: int


def run(folder: Path, experiment: Experiment, plain_trials: int, *, store: bool) -> Took:
    """One sweep, its search alone: the proof is the same work for all."""
    settings = read_settings()
    setup = open_sweep(experiment, settings, SweepOptions(store=store, tracking=False))
    estimate = asyncio.run(setup.estimate())
    connect_embeddings(Spec(name="local:minilm"), settings).embed_query("opened, as importing is left out as well")
    begun, cpu = time.perf_counter(), time.process_time()

    class Printed(SweepObserver):
        def trial_finished(self, trial: Trial) -> None:
            passed = time.perf_counter() - begun
            print(f"  {folder.name}: trial {trial.number} {trial.state} {trial.objective:.4f} {passed:.0f} s", file=sys.stderr)

    where = SweepFolder(folder)
    with where.locked():
        engine = None if store else Afresh(experiment, plain_trials)
        search = make_search(setup, where, estimate, MemoryRun("sweep", "r"), Printed(), engine=engine)

        async def go() -> None:
            await search.dispatcher.engine.start()
            try:
                await search.search(setup.golden.tune(), setup.starts)
            except* Enough:
                pass
            finally:
                await search.dispatcher.engine.stop()

        asyncio.run(go())
        return Took(time.perf_counter() - begun, time.process_time() - cpu, search.progress.counts, len(where.finished()))


def in_a_process(what: str, options: argparse.Namespace, plain_trials: int, home: Path, store: Path) -> Took:
    command = [sys.executable, __file__, str(options.path), "--run", what, "--trials", str(options.trials), "--cases", str(options.cases)]
    command += ["--plain-trials", str(plain_trials), "--folder", str(home / what)]
    found = subprocess.run(command, env=environment(home, store), check=True, stdout=subprocess.PIPE, text=True)
    return Took(**json.loads(found.stdout.strip().splitlines()[-1]))


# ---- comparison and report


def scores(folder: Path) -> dict[str, Any]:
    """Everything that a run found and that is not time: values, states and each case's every score."""
    found = {}
    for one in SweepFolder(folder).finished():
        report: EvalReport = SweepFolder(folder).full_report(one)
        rows = {row.case.id: {score.metric: (score.value, score.reason) for score in row.scores} for row in report.rows}
        answers = {row.case.id: row.trace.answer.text for row in report.rows if row.trace}
        found[str(one.number)] = [dict(one.values), one.state, one.why, one.objectives, rows, answers]
    return found


def part(data: dict[str, Any], trials: int) -> list[str]:
    """One size's section."""
    took, plain = data["took"], data["took"]["plain"]
    whole = {what: plain[what] * trials / plain["trials"] for what in ("seconds", "cpu_seconds")}
    rows = [["nothing kept", plain["trials"], f"{plain['seconds']:.1f}", "1×", f"{plain['cpu_seconds']:.1f}", "1×"]]
    if plain["trials"] < trials:
        rows.append(["… extrapolated", trials, f"{whole['seconds']:.0f}", "", f"{whole['cpu_seconds']:.0f}", ""])
    for name, words in (("first", "stage store, empty at first"), ("second", "the same sweep again")):
        one = took[name]
        ratios = {what: f"{whole[what] / one[what]:.1f}×" for what in whole}
        rows.append([words, one["trials"], f"{one['seconds']:.1f}", ratios["seconds"], f"{one['cpu_seconds']:.1f}", ratios["cpu_seconds"]])
    kept = [[stage, n["hits"] + n["misses"], n["hits"]] for stage, n in took["first"]["counts"].items()]
    same = "equal to the last bit" if data["equal"] else f"DIFFERENT in {data['different']}"
    return [
        f"## {data['documents']:,} documents",
        table(["run", "trials", "seconds", "", "processor seconds", ""], rows),
        f"Values, states, answers and {data['compared']:,} scores of the {plain['trials']} trials that all three runs made are {same}. "
        "In the first run with a store:",
        table(["stage", "asked for", "there"], kept),
    ]


def markdown(data: dict[str, Any]) -> str:
    return "\n\n".join(
        [
            "# What the stage store saves",
            f"Machine: {machine_line(data['machine'])}, shared with other work. A study of {data['trials']} trials (seed 7, the default "
            f"search and pruner) on {data['cases']} questions of {data['source']}; local models; search only, imports and opening of the "
            "models left out. “Nothing kept” builds an index for every trial and starts every model's memory empty. Made by `python "
            "bench/sweep_reuse.py`.",
            *(text for one in data["sizes"] for text in part(one, data["trials"])),
        ]
    )


def measured(options: argparse.Namespace, documents: int, plain_trials: int) -> dict[str, Any]:
    """All three runs over so many documents."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        facts = furnish(options.path, home, documents, options.cases)
        took = {name: in_a_process(name, options, plain_trials, home, home / "store") for name in ("first", "second")}
        took["plain"] = in_a_process("plain", options, plain_trials, home, home / "none")
        found = {name: scores(home / name) for name in took}
    done = set(found["plain"])
    different = [name for name in ("first", "second") if {at: one for at, one in found[name].items() if at in done} != found["plain"]]
    compared = sum(len(row) for trial in found["plain"].values() for row in trial[4].values())
    data = {**facts, "equal": not different, "different": different, "compared": compared}
    return data | {"took": {name: asdict(one) for name, one in took.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--sizes", nargs="+", default=["600:60", "all:2"], help="documents:trials without a store")
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--plain-trials", type=int, default=10_000, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    parser.add_argument("--run", choices=["plain", "first", "second"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        took = run(options.folder, study(options.trials, options.cases), options.plain_trials, store=options.run != "plain")
        print(json.dumps(asdict(took)))
        return
    sizes = []
    for size in options.sizes:
        documents, _, plain = size.partition(":")
        sizes.append(measured(options, 10**9 if documents == "all" else int(documents), int(plain or options.trials)))
        data = {"machine": machine("optuna", "onnxruntime", "lancedb"), "source": options.path.name, "trials": options.trials}
        data |= {"cases": options.cases, "sizes": sizes}
        write_report("sweep_reuse", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
