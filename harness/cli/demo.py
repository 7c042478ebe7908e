"""`make demo`: the whole loop once, told in a dozen lines; what each command says itself goes to a log, or on with --verbose."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.golden.load import load_golden
from harness.settings import DEFAULT_GOLDEN, HarnessSettings, read_settings
from harness.stats.text import number_text
from harness.sweep.experiment import load_experiment
from harness.sweep.winner import SweepWinner, newest_winner, read_winner
from serving.pipeline.index.corpus import load_corpus

FIRST, SECOND = Path("experiments/quickstart.yaml"), Path("experiments/second.yaml")
GATE = Path("experiments/gates/promotion.yaml")
QUESTION = "How many days of paid holiday do people in Leeds get, bank holidays aside?"


@dataclass
class Demo:
    """One run of the loop: commands as a user would type them, and a line about what came of each."""

    settings: HarnessSettings
    verbose: bool
    log: Path

    def run(self) -> None:
        """Search, prove, gate, promote, search again, ask."""
        golden = load_golden(self.settings.datasets, DEFAULT_GOLDEN)
        documents = len(load_corpus(self.settings.datasets / "corpora" / golden.card.corpus).documents)
        tune, holdout = len(golden.tune().cases), len(golden.cases) - len(golden.tune().cases)
        self.say(f"{documents} documents, {len(golden.cases)} questions: {tune} to search on, {holdout} kept back. No key, no server.")

        self.say(f"Searching from what a team ships on day one ({FIRST}), through `mlflow run` …")
        seconds, winner = self.sweep(FIRST)
        self.say(f"{load_experiment(FIRST).trials} configurations in {seconds:.0f} s. {told(winner)}")

        config = newest_winner(self.settings.reports).with_suffix(".yaml")
        decision = json.loads(self.touchstone("gate", str(GATE), "--config", str(config), "--json"))
        self.say(f"Gate {GATE}: {decision['state']}. {decision['message']}.")
        release = json.loads(self.touchstone("promote", "--channel", "dev", "--json"))
        self.say(f"Release {release['release']} is what the channel dev points at now; it is the champion to beat from here on.")

        self.say(f"Searching on from it ({SECOND}) …")
        seconds, winner = self.sweep(SECOND)
        self.say(f"{load_experiment(SECOND).trials} configurations in {seconds:.0f} s. {told(winner)}")

        answer = json.loads(self.touchstone("ask", QUESTION, "--channel", "dev", "--json"))
        cited = ", ".join(dict.fromkeys(one["chunk_id"].partition("#")[0] for one in answer["answer"]["citations"]))
        self.say(f"“{QUESTION}” → {answer['answer']['text']} ({cited or 'no citation'})")
        reports = sorted(self.settings.reports.glob("sweeps/*/report.html"), key=lambda path: path.stat().st_mtime)[-2:]
        self.say(f"Reports: {' and '.join(map(str, reports))}. All runs: make ui, then http://127.0.0.1:5000.")
        self.say("The API with its page: make serve, then http://127.0.0.1:8080.")

    def sweep(self, experiment: Path) -> tuple[float, SweepWinner]:
        """Run an experiment as an MLflow project; how long it took, and what won."""
        begin = time.monotonic()
        options = ["--env-manager", "local", "--experiment-name", self.settings.mlflow_experiment, "-P", f"experiment={experiment}"]
        self.call([str(Path(sys.executable).with_name("mlflow")), "run", ".", "-e", "sweep", *options])
        return time.monotonic() - begin, read_winner(newest_winner(self.settings.reports))

    def touchstone(self, *arguments: str) -> str:
        """What a command of ours prints."""
        return self.call([sys.executable, "-m", "harness", *arguments])

    def call(self, command: Sequence[str]) -> str:
        """Run a command; its words go to the log, and to the terminal where they are asked for or it failed."""
        environment = {**os.environ, "MLFLOW_TRACKING_URI": self.settings.tracking_uri}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603
        words = f"$ {' '.join(command)}\n{done.stderr}{done.stdout}\n"
        with self.log.open("a", encoding="utf-8") as log:
            log.write(words)
        if self.verbose or done.returncode:
            sys.stderr.write(words)
        if done.returncode:
            sys.exit(done.returncode)
        return done.stdout

    def say(self, line: str) -> None:
        """A line of the story."""
        print(f"▸ {line}", flush=True)


def told(winner: SweepWinner) -> str:
    """What a sweep found, in a sentence or two."""
    against = winner.verdict.against
    if against is None or against.difference is None or against.low is None or against.high is None:
        return winner.verdict.reason
    holdout = next(one for one in winner.measured if one.split == "holdout")
    after = holdout.metrics[against.metric].mean or 0.0
    before = after - against.difference
    moved = f"{against.metric} {number_text(before)} → {number_text(after)} on {holdout.cases} questions it never saw"
    return f"{winner.verdict.verdict.capitalize()}: {moved}, {against.difference:+.3f} [{against.low:+.3f}, {against.high:+.3f}]."


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verbose", action="store_true", help="show what every command says")
    verbose = parser.parse_args().verbose
    settings = read_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    log = settings.home / "demo.log"
    log.write_text("", encoding="utf-8")
    demo = Demo(settings, verbose, log)
    demo.run()
    demo.say(f"What every command said: {log}, or make demo VERBOSE=1.")


if __name__ == "__main__":
    main()
