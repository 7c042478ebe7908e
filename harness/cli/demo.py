"""`make demo`: the whole loop once, told in two dozen lines; what each command says itself goes to a log, or on with --verbose."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cli.demo_server import DemoServer, demo_server
from harness.cli.interrupt import STOPPED_CODE
from harness.cli.output.clean import clean
from harness.golden.load import load_golden
from harness.settings import DEFAULT_GOLDEN, HarnessSettings, read_settings
from harness.stats.text import number_text
from harness.sweep.experiment import load_experiment
from harness.sweep.winner import SweepWinner, newest_winner, read_winner
from serving.pipeline.index.corpus import load_corpus
from serving.pipeline.plain_yaml import dump_plain
from serving.storage.files import write_text

FIRST, SECOND = Path("experiments/quickstart.yaml"), Path("experiments/second.yaml")
GATE = Path("experiments/gates/promotion.yaml")
CHANNEL = "dev"
WHY = "to show the way back"
LONGEST_EXCERPT = 100  # characters
QUESTION = "How many days of paid holiday do people in Leeds get, bank holidays aside?"


@dataclass
class Demo:
    """One run of the loop: commands as a user would type them, and a line about what came of each."""

    settings: HarnessSettings
    verbose: bool
    log: Path

    def run(self) -> None:
        """Search, prove, gate, promote, search again, serve, ask, go back."""
        golden = load_golden(self.settings.datasets, DEFAULT_GOLDEN)
        documents = len(load_corpus(self.settings.datasets / "corpora" / golden.card.corpus).documents)
        tune, holdout = len(golden.tune().cases), len(golden.cases) - len(golden.tune().cases)
        self.say(f"{documents} documents, {len(golden.cases)} questions: {tune} to search on, {holdout} kept back. No key, no server.")

        self.say(f"Searching from what a team ships on day one ({FIRST}), through `mlflow run` …")
        seconds, winner = self.sweep(FIRST)
        self.say(f"{load_experiment(FIRST).trials} configurations in {seconds:.0f} s. {sweep_summary(winner)}")

        proven = newest_winner(self.settings.reports)
        decision = json.loads(self.touchstone("gate", str(GATE), "--config", str(proven.with_suffix(".yaml")), "--json"))
        self.say(f"Gate {GATE}: {decision['state']}. {decision_summary(decision)}")
        promoted = json.loads(self.touchstone("promote", str(proven), "--channel", CHANNEL, "--json"))
        release = promoted["release"]
        self.say(f"Release {release} is what the channel {CHANNEL} points at now; it is the champion to beat from here on.")

        self.say(f"Searching on from it ({SECOND}) …")
        seconds, winner = self.sweep(SECOND)
        self.say(f"{load_experiment(SECOND).trials} configurations in {seconds:.0f} s. {sweep_summary(winner)}")

        self.serve(release)
        reports = sorted(self.settings.reports.glob("sweeps/*/report.html"), key=lambda path: path.stat().st_mtime)[-2:]
        self.say(f"Reports: {' and '.join(map(str, reports))}.")
        self.say("All runs, and the release in the model registry: make ui, then http://127.0.0.1:5000.")
        self.say(f"The API with its page, serving {release}: make serve, then http://127.0.0.1:8080.")

    def serve(self, release: str) -> None:
        """Start a server on the channel, ask it, put another release in its place, and go back."""
        with demo_server(CHANNEL, self.log.with_name("demo-server.log"), {"TOUCHSTONE_POLL_S": "0.5"}) as server:
            seconds = server.wait_for(release)
            self.say(f"A server on {CHANNEL}, ready in {seconds:.1f} s:")
            self.show(f"""$ curl {server.address}/v1/query --json '{json.dumps({"question": QUESTION})}'""")
            answer = server.ask(QUESTION)
            self.show(answer["answer"])
            for one in answer["citations"]:
                self.show(f"[{one['marker']}] {one['document']}: “{excerpt(one.get('snippet') or one['text'])}”")
            self.show(f"{answer['model']}, release {answer['release']}, {answer['milliseconds']:.0f} ms")

            try:
                self.go_and_come_back(server)
            except KeyboardInterrupt:
                back = f".venv/bin/touchstone release rollback --channel {CHANNEL} --to {release}"
                sys.stderr.write(f"{CHANNEL} may still point at the release that was forced onto it. Back: {back}\n")
                raise

    def go_and_come_back(self, server: DemoServer) -> None:
        """Force another release onto the channel, then roll it back; the server follows both."""
        day_one = self.day_one()
        other = json.loads(self.touchstone("promote", str(day_one), "--channel", CHANNEL, "--force", "--why", WHY, "--json"))["release"]
        server.wait_for(other)
        self.say(f"Somebody forces what the team had on day one onto {CHANNEL}, and the server follows: {self.again(server)}")
        moved = json.loads(self.touchstone("release", "rollback", "--channel", CHANNEL, "--why", "it was better before", "--json"))
        server.wait_for(moved["stable"])
        self.say(f"touchstone release rollback: {self.again(server)} Who and why: .venv/bin/touchstone channel history.")

    def again(self, server: DemoServer) -> str:
        """The answer to the same question, by whatever is served now."""
        answer = server.ask(QUESTION)
        return f"“{excerpt(clean(answer['answer']))}” (release {answer['release']})."

    def day_one(self) -> Path:
        """The configuration that the first search began with, as a file."""
        path = self.log.with_name("day-one.yaml")
        write_text(path, dump_plain(load_experiment(FIRST).config.complete().model_dump(mode="json")))
        return path

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
        if "--force" in command or "rollback" in command:
            environment["TOUCHSTONE_MLFLOW_MODEL"] = ""  # what is forced here only to be taken back is not registered
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603 — our own commands
        words = f"$ {' '.join(command)}\n{done.stderr}{done.stdout}\n"
        with self.log.open("a", encoding="utf-8") as log:
            log.write(words)
        if self.verbose or done.returncode:
            sys.stderr.write(words)
        if done.returncode:
            sys.exit(done.returncode)
        return done.stdout

    def show(self, line: str) -> None:
        """What somebody typed, or got."""
        print(f"    {clean(line)}", flush=True)

    def say(self, line: str) -> None:
        """A line of the story."""
        print(f"▸ {line}", flush=True)


def excerpt(text: str) -> str:
    """The beginning of a passage, in a line."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_EXCERPT else f"{line[:LONGEST_EXCERPT].rpartition(' ')[0]} …"


def decision_summary(decision: dict[str, Any]) -> str:
    """What a gate says of its rules, and of those that did not hold."""
    outcomes = [ruling["outcome"] for ruling in decision["rulings"]]
    rest = {"advise against it": outcomes.count("fail"), "cannot be judged": outcomes.count("unjudged")}
    words = [f"{count} {what}" for what, count in rest.items() if count]
    others = f" ({', '.join(words)})" if words else ""
    return f"{decision['message']}{others}."


def sweep_summary(winner: SweepWinner) -> str:
    """What a sweep found, in a sentence or two."""
    against = winner.verdict.against
    if against is None or against.difference is None or against.low is None or against.high is None:
        found, bracket, _ = winner.verdict.reason.partition("]. ")  # how many cases would decide is in the report
        return found + bracket.strip()
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
    try:
        demo.run()
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. What was computed is kept; make demo begins again.\n")
        sys.exit(STOPPED_CODE)
    demo.say(f"What every command said: {log}, or make demo VERBOSE=1.")


if __name__ == "__main__":
    main()
