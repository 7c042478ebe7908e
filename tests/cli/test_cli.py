import io
import json
import re
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.golden.load import load_golden
from serving.pipeline.errors import ConfigError
from serving.pipeline.types import Hit, Query, Route
from tests.support.world import NOVA, REPOSITORY, World, unreachable_bedrock

QUESTION = "How many days of paid holiday does an employee have?"


def test_asking_gives_an_answer_with_its_source_and_cost(world: World) -> None:
    said = world.touchstone("ask", QUESTION, "--corpus", "tiny", "-c", "tiny.yaml")
    assert said.code == 0, said.err
    assert "30 days" in said.out
    assert "[1] hr/leave.md" in said.out
    assert "simulated" in said.out


def test_asking_for_json_gives_the_whole_trace(world: World) -> None:
    trace = world.touchstone("ask", QUESTION, "--corpus", "tiny", "-c", "tiny.yaml", "--json").json
    assert isinstance(trace, dict)
    assert [stage["stage"] for stage in trace["stages"]] == ["guard", "cache", "retrieve", "guard", "route", "answer", "guard"]
    assert "30 days" in trace["answer"]["text"]
    assert trace["usage"][0]["simulated"] is True


def test_asking_can_be_narrowed_to_metadata_and_to_a_domain(world: World) -> None:
    (world.root / "datasets/corpora/tiny/hr/old.md").write_text(
        "---\nstatus: superseded\n---\n# Leave\n\nEmployees had 25 days of paid holiday.\n"
    )
    for narrowed, found in ((["--where", "status=superseded"], {"hr/old.md"}), (["--domain", "it"], {"it/laptops.md", "it/vpn.md"})):
        trace = world.touchstone("ask", QUESTION, "--corpus", "tiny", "-c", "tiny.yaml", "--json", *narrowed).json
        assert isinstance(trace, dict)
        documents = {hit["chunk"]["document_id"] for hit in trace["hits"]}
        assert documents and documents <= found


def test_the_same_question_twice_gives_the_same_answer_hits_and_digests(world: World) -> None:
    def once() -> dict[str, object]:
        trace = world.touchstone("ask", QUESTION, "--corpus", "tiny", "-c", "tiny.yaml", "--json").json
        assert isinstance(trace, dict)
        return {key: trace[key] for key in ("config_digest", "index_digest", "hits", "answer", "prompt", "usage", "route")}

    assert once() == once()


def test_indexing_twice_builds_once(world: World) -> None:
    first = world.touchstone("index", "--corpus", "tiny", "-c", "tiny.yaml", "--json").json
    second = world.touchstone("index", "--corpus", "tiny", "-c", "tiny.yaml", "--json").json
    assert first == second
    assert isinstance(first, dict)
    assert first["documents"] == 5


@pytest.mark.slow
def test_evaluating_scores_writes_a_report_and_logs_a_run(world: World) -> None:
    said = world.touchstone("eval", "-c", "tiny.yaml", "--golden", "tiny", "--split", "all", "--name", "first", "--json")
    assert said.code == 0, said.err
    found = said.json
    assert isinstance(found, dict)
    assert found["numbers"]["cases"] == 10
    assert found["numbers"]["recall@5"] > 0.5
    page = Path(found["report"]).read_text()
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "2 tune" not in page
    assert len(Path(found["cases"]).read_text().splitlines()) == 11
    assert (world.root / ".touchstone" / "mlflow" / "mlflow.db").exists()
    assert "eval first" in (world.root / ".touchstone" / "holdout-looks.jsonl").read_text()


def test_a_sweep_finds_a_winner_that_can_be_promoted_and_asked(world: World) -> None:
    said = world.touchstone("sweep", "small.yaml", "--no-tracking", "--json")
    assert said.code == 0, said.err
    found = said.json
    assert isinstance(found, dict)
    assert found["verdict"] in ("better", "equivalent", "worse", "undecided")
    assert Path(found["report"]).exists()

    refused = world.touchstone("promote")
    assert refused.code == 1
    assert "Not proven for dev" in refused.err
    world.pass_gate()
    promoted = world.touchstone("promote", "--json")
    assert promoted.code == 0, promoted.err
    shipped = promoted.json
    assert isinstance(shipped, dict)
    assert shipped["release"] == found["config_digest"]
    assert shipped["channel"]["stable"] == found["config_digest"]

    asked = world.touchstone("ask", QUESTION, "--channel", "dev", "--json").json
    assert isinstance(asked, dict)
    assert asked["release_digest"] == asked["config_digest"] == found["config_digest"]
    assert world.touchstone("release", "list").out.split() == [found["config_digest"], "dev"]
    assert world.touchstone("release", "show", found["config_digest"]).code == 0


def test_a_trial_that_crashes_on_some_cases_is_failed_and_cannot_win(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.pipeline.route.rules import RulesRouter

    plain = RulesRouter.route
    one = load_golden(world.root / "datasets", "tiny").tune().cases[0]

    def crashing(self: RulesRouter, query: Query, hits: Sequence[Hit]) -> Route:
        if len(hits) > 2 and query.id == one.id:  # only configurations with more passages than the base's crash
            raise ZeroDivisionError("oops")
        return plain(self, query, hits)

    monkeypatch.setattr(RulesRouter, "route", crashing)  # no shipped part crashes by itself
    found = world.touchstone("sweep", "small.yaml", "--no-tracking", "--trials", "6", "--json").json
    assert isinstance(found, dict)
    assert found["values"].get("retrieve.top_k", 2) <= 2
    trials = sorted((world.root / "reports/sweeps").glob("*/trials/*.jsonl"))
    assert any("ZeroDivisionError" in trial.read_text() for trial in trials)


def test_an_evaluation_is_not_written_over(world: World) -> None:
    again = ["eval", "-c", "tiny.yaml", "--golden", "tiny", "--no-tracking", "--name", "same"]
    assert world.touchstone(*again).code == 0
    said = world.touchstone(*again)
    assert said.code == 2
    assert "There is an evaluation named 'same' already" in said.err


@pytest.mark.slow
@pytest.mark.usefixtures("tracked")
def test_a_sweeps_parent_run_carries_verdict_report_and_winner(world: World) -> None:
    said = world.touchstone("sweep", "small.yaml", "--json")
    assert said.code == 0, said.err
    found = said.json
    assert isinstance(found, dict)
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{world.root}/.touchstone/mlflow/mlflow.db")
    parent = client.get_run(found["run"])
    assert parent.data.tags["touchstone.verdict"] == found["verdict"]
    assert "holdout.quality" in parent.data.metrics
    assert {"report.html", "report.md", "winner.json"} <= {file.path for file in client.list_artifacts(parent.info.run_id)}
    children = client.search_runs([parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert re.fullmatch(r"small \d\d-\d\d \d\d:\d\d", parent.info.run_name)
    finalists, trials = (sorted(run.info.run_name for run in children if run.info.run_name.startswith(word)) for word in ("fin", "trial"))
    assert finalists == ["finalist · the base", f"finalist · trial {_best(children)}"]
    assert trials[0] == "trial 0 · base"
    assert all(re.fullmatch(r"trial \d · version \d · top_k \d", name) for name in trials[1:]) and len(trials) == 3
    assert all(run.data.params["retrieve.top_k"] and run.data.tags["touchstone.config_digest"] for run in children)


def _best(children: list[Any]) -> int:
    """The number of the best trial that is not the base."""
    numbers = {run.data.tags.get("touchstone.trial", ""): run.data.metrics["quality"] for run in children}
    return max((1, 2), key=lambda number: (numbers[str(number)], -number))


def test_a_winner_whose_documents_changed_since_is_not_promoted(world: World) -> None:
    assert world.touchstone("sweep", "small.yaml", "--no-tracking", "--json").code == 0
    (world.root / "datasets/corpora/tiny/hr/leave.md").write_text("# Leave\n\nNothing.\n")
    said = world.touchstone("promote")
    assert said.code == 2
    assert "Sweep again" in said.err
    assert not (world.root / "releases").exists()


def test_golden_sets_are_listed_shown_and_checked(world: World) -> None:
    assert "tiny/v1: 10 cases" in world.touchstone("golden", "list").out
    assert "hr/leave.md[" in world.touchstone("golden", "show", "tiny", "--case", "t0").out
    assert "every span reads as quoted" in world.touchstone("golden", "check", "tiny").out
    (world.root / "datasets/corpora/tiny/hr/leave.md").write_text("# Leave\n\nSomething else entirely.\n")
    said = world.touchstone("golden", "check", "tiny")
    assert said.code == 2
    assert "cases.jsonl:1: case 't0': hr/leave.md[" in said.err


MISTAKES = [
    (["ask", QUESTION, "--corpus", "tinny"], "No corpus 'tinny'. Did you mean 'tiny'?"),
    (["ask", QUESTION, "--corpus", "tiny", "-c", "none.yaml"], "No file 'none.yaml'"),
    (["ask", QUESTION, "--corpus", "tiny", "-s", "retrieve.topk=3"], "Did you mean 'top_k'?"),
    (["ask", QUESTION, "--corpus", "tiny", "-s", "retrieve.top_k=three"], "'three'"),
    (["ask", QUESTION, "--corpus", "tiny", "-s", "retrieve.top_k"], "write PATH=VALUE"),
    (["ask", QUESTION, "--corpus", "tiny", "--where", "status"], "write KEY=VALUE"),
    (["ask", QUESTION, "--corpus", "empty"], "empty"),
    (["ask", QUESTION, "--corpus", "broken"], "report.pdf"),
    (["ask", QUESTION, "--corpus", "tiny", "-c", "tiny.yaml", "-s", "answer.prompt.version=9"], "No version 9"),
    (["ask", QUESTION, "--corpus", "tiny", "-c", "tiny.yaml", "-s", "answer.prompt.name=bad"], "passagess"),
    (["ask", QUESTION, "--channel", "dev"], "Channel 'dev' points at nothing yet"),
    (["eval", "--golden", "tiney"], "No golden set 'tiney'"),
    (["eval", "--golden", "tiny", "--split", "half"], "half"),
    (["sweep", "none.yaml"], "No file 'none.yaml'"),
    (["promote"], "No sweep has a winner"),
    (["release", "show", "0000"], "No release '0000'"),
    (["channel", "show", "devv"], "No channel 'devv'. Did you mean 'dev'?"),
    (["golden", "show", "tiny", "--case", "t99"], "No case 't99'"),
    (["nonsense"], "nonsense"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[" ".join(a[:1] + a[2:])[:60] for a, _ in MISTAKES])
def test_a_mistake_is_one_clear_line_and_exit_code_2(
    world: World, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world.root / "datasets/corpora/empty").mkdir()
    broken = world.root / "datasets/corpora/broken"
    broken.mkdir()
    (broken / "report.pdf").write_bytes(b"this is no pdf")
    prompts = world.root / "prompts" / "answer"
    shutil.copytree(REPOSITORY / "prompts" / "answer", prompts)
    (prompts / "bad").mkdir()
    text = (prompts / "general" / "v3.md").read_text().replace("{{ passages }}", "{{ passagess }}")
    (prompts / "bad" / "v3.md").write_text(text)
    monkeypatch.setenv("TOUCHSTONE_PROMPTS", str(prompts.parent))
    said = world.touchstone(*arguments)
    assert said.code == 2, said
    assert words in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert "Traceback" not in said.err


@pytest.mark.slow
def test_an_unreachable_mlflow_is_exit_code_3(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_MLFLOW_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = world.touchstone("eval", "-c", "tiny.yaml", "--golden", "tiny")
    assert said.code == 3
    assert "MLflow at http://127.0.0.1:9 failed" in said.err


def test_an_unreachable_bedrock_is_exit_code_3_and_no_case_scores_0(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    unreachable_bedrock(monkeypatch)
    changes = ["-s", f"answer.models.lite.name={NOVA}", "-s", f"answer.models.pro.name={NOVA}"]
    said = world.touchstone("eval", "-c", "tiny.yaml", *changes, "--golden", "tiny", "--no-tracking", "--name", "dead")
    assert said.code == 3, said
    assert "cases were not answered" in said.err
    rows = [json.loads(line) for line in (world.root / "reports/runs/dead/cases.jsonl").read_text().splitlines()[1:]]
    assert rows
    assert all(score["value"] is None and score["reason"] for row in rows for score in row["scores"])


def test_every_command_explains_itself(world: World) -> None:
    for command in ("ask", "index", "eval", "sweep", "promote", "serve", "ui", "doctor", "golden", "config", "release", "channel"):
        said = world.touchstone(command, "--help")
        assert said.code == 0, said
        assert "Usage" in said.out


def test_the_version_is_that_of_the_package(world: World) -> None:
    said = world.touchstone("--version")
    assert (said.code, said.out.strip()) == (0, version("touchstone-rag"))


def test_every_setting_is_documented(world: World) -> None:
    said = world.touchstone("config", "settings", "--json")
    rows = said.json
    assert isinstance(rows, list)
    assert all(row["meaning"] for row in rows)


def test_a_value_that_is_not_yaml_and_a_question_that_is_not_utf_8_are_the_users_mistakes(world: World) -> None:
    for arguments in (
        ("config", "show", "-s", "retrieve.top_k=["),
        ("config", "show", "-s", "retrieve.top_k=2024-13-45"),
        ("ask", "\udcff?", "--corpus", "tiny"),
    ):
        said = world.touchstone(*arguments)
        assert said.code == 2
        assert said.err.startswith("touchstone: ")
        assert said.err.count("\n") == 1


def test_an_evaluation_by_other_metrics_is_told_by_kind_in_those_metrics(world: World) -> None:
    said = world.touchstone("eval", "-c", "tiny.yaml", "--golden", "tiny", "-m", "length", "--no-tracking", "--name", "other")
    assert said.code == 0, said.err
    assert "quality" not in said.out
    assert [line.split() for line in said.out.splitlines() if line.split()[:1] == ["kind"]] == [["kind", "length", "cases"]]


def test_a_golden_set_cannot_steer_the_terminal(world: World) -> None:
    folder = world.root / "datasets/golden/tiny/v1"
    line = {"id": "\x1b[2J", "question": "Who?\x1b[5m", "answerable": False, "kind": "unanswerable", "domain": "\x1b[31mred"}
    with (folder / "cases.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    assert world.touchstone("golden", "seal", "tiny").code == 0
    for arguments in (("show", "tiny", "--kind", "unanswerable"), ("split", "tiny"), ("check", "tiny", "--embedder", "none")):
        said = world.touchstone("golden", *arguments)
        assert "\x1b" not in said.out + said.err
        assert "red" in said.out


def test_a_bare_group_shows_its_help_as_it_is(world: World) -> None:
    said = world.touchstone("golden")
    assert said.code == 2
    assert said.err.startswith("Usage: ")


def test_a_place_that_cannot_be_made_is_one_line(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.root / "file").write_text("in the way")
    monkeypatch.setenv("TOUCHSTONE_HOME", "file")
    said = world.touchstone("eval", "--golden", "tiny/v1", "--split", "holdout", "-c", "tiny.yaml", "--no-tracking")
    assert said.code == 3
    assert said.err.count("\n") == 1


def test_settings_are_shown_without_passwords(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_MLFLOW_URI", "http://me:secret@mlflow:5000")
    shown = world.touchstone("config", "settings").out
    assert "http://me:***@mlflow:5000" in shown
    assert "secret" not in shown


@pytest.mark.parametrize(("error", "code"), [(RuntimeError("oops"), 3), (BrokenPipeError(), 141), (ConfigError("no"), 2)])
def test_no_failure_ends_with_the_exit_code_of_a_verdict(error: Exception, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr("harness.cli.app", fail)  # a fault that nobody foresaw cannot be made on purpose
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == code


@pytest.mark.parametrize("name", ["../out", "a/b", "..", "/tmp/x", ""])
def test_a_name_stays_in_its_folder(world: World, name: str) -> None:
    said = world.touchstone("eval", "--golden", "tiny/v1", "--config", "tiny.yaml", "--no-tracking", "--name", name or "a\0b")
    assert said.code == 2
    assert "becomes a folder's name" in said.err
