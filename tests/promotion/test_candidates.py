"""What `touchstone promote` takes, and what it says of what it cannot take."""

import os
from pathlib import Path

import pytest

from harness.settings import HarnessSettings
from harness.sweep.winner import SweepWinner
from harness.tracking.base import LoggedRun
from serving.pipeline.config import load_config
from serving.release.evidence import RecordedVerdict
from tests.support.promoting import factory
from tests.support.world import World


def winner(folder: str, experiment: str, config: str, corpus: str = "tiny") -> Path:
    """A sweep's winner as promotion finds it; later ones are newer."""
    path = Path("reports/sweeps") / folder / "winner.json"
    path.parent.mkdir(parents=True)
    chosen = load_config(Path(config))
    verdict = RecordedVerdict(experiment=experiment, experiment_digest="e", verdict="better", reason="it is better", against=None)
    document = SweepWinner(
        config=chosen.model_dump(mode="json"),
        config_digest=factory(HarnessSettings()).digest(chosen),
        corpus=corpus,
        verdict=verdict,
        measured=(),
        mlflow_run="",
    )
    path.write_text(document.model_dump_json())
    path.with_suffix(".yaml").write_text(Path(config).read_text())
    number = len(list(Path("reports/sweeps").iterdir()))
    os.utime(path, (number, number))
    return path


def promoted(world: World, *words: str) -> dict[str, object]:
    said = world.touchstone("promote", *words, "--json")
    assert said.code == 0, said.err
    assert isinstance(said.json, dict)
    return said.json


def test_a_bare_promotion_takes_the_only_winner_and_says_whose_it_is(gated: World) -> None:
    winner("quick-1", "quick", "one.yaml")
    winner("quick-2", "quick", "two.yaml")
    gated.pass_gate("two.yaml")
    done = promoted(gated)
    assert done["source"] == "reports/sweeps/quick-2/winner.json (experiment quick, corpus tiny)"
    assert done["corpus"] == "tiny"


def test_a_bare_promotion_takes_no_winner_that_could_be_anothers(gated: World) -> None:
    winner("quick-1", "quick", "one.yaml")
    winner("other-1", "other", "two.yaml")
    gated.pass_gate("two.yaml")
    for words in ((), ("winner",)):
        said = gated.touchstone("promote", *words)
        assert said.code == 2
        assert said.err.count("\n") == 1
        assert "2 experiments have a winner, so name one." in said.err
        assert "quick on tiny: reports/sweeps/quick-1/winner.json" in said.err
    assert not Path("releases").exists()
    assert "Did you mean 'other'? Name a sweep's winner.json" in gated.touchstone("promote", "othr").err
    for word in ("other", "other-1", "reports/sweeps/other-1", "reports/sweeps/other-1/winner.json"):
        assert "experiment other" in str(promoted(gated, word)["source"])


def test_a_winner_of_another_corpus_is_never_taken_silently(gated: World) -> None:
    path = winner("quick-1", "quick", "one.yaml")
    winner("quick-2", "quick", "one.yaml", corpus="huge")
    assert "2 experiments have a winner" in gated.touchstone("promote").err
    assert "has winners on 2 corpora" in gated.touchstone("promote", "quick").err
    assert "No sweep on none has a winner" in gated.touchstone("promote", "--corpus", "none").err
    gated.pass_gate("one.yaml")
    assert promoted(gated, "--corpus", "tiny")["corpus"] == "tiny"
    said = gated.touchstone("promote", str(path), "--corpus", "huge")
    assert said.code == 2
    assert "was proven on the corpus 'tiny', not on 'huge'. Leave --corpus out." in said.err


def test_an_evaluation_is_promoted_by_its_name_once_a_gate_was_held_on_it(gated: World) -> None:
    assert (
        gated.touchstone("eval", "-c", "one.yaml", "--golden", "tiny/v1", "--split", "holdout", "--name", "mine", "--no-tracking").code == 0
    )
    refused = gated.touchstone("promote", "mine")
    assert refused.code == 1
    assert "touchstone gate experiments/gates/pull_request.yaml --run reports/runs/mine/cases.jsonl" in refused.err
    gated.pass_gate("one.yaml")
    done = promoted(gated, "mine")
    assert done["source"] == "reports/runs/mine/cases.jsonl"
    [digest] = {str(done["release"])}
    shown = gated.touchstone("release", "show", digest, "--json").json
    assert isinstance(shown, dict)
    [evidence] = shown["evidence"].values()
    assert [one["by"] for one in evidence["measured"]] == ["eval", "gate pull_request"]


def test_a_release_goes_on_to_staging_by_its_beginning_or_its_channel(gated: World) -> None:
    gated.pass_gate("one.yaml")
    digest = str(promoted(gated, "one.yaml", "--corpus", "tiny")["release"])
    refused = gated.touchstone("promote", "channel:dev", "--channel", "staging")
    assert refused.code == 1
    assert refused.err.rstrip().endswith(f"Run: touchstone gate experiments/gates/promotion.yaml --candidate {digest}")
    assert gated.touchstone("gate", "experiments/gates/promotion.yaml", "--candidate", digest[:6]).code == 0
    assert promoted(gated, digest[:6], "--channel", "staging")["release"] == digest

    for decision in Path("reports/gates").glob("*/decision.json"):
        decision.unlink()  # as on another machine: its evidence holds the decision
    assert gated.touchstone("channel", "approve", "prod", "channel:staging", "--why", "read it").code == 0
    done = promoted(gated, "channel:staging", "--channel", "prod")
    assert done["release"] == digest
    shown = gated.touchstone("release", "show", digest, "--json").json
    assert isinstance(shown, dict)
    assert len(shown["evidence"]) == 3


def test_a_release_ships_as_it_is_though_documents_and_prompts_have_changed(gated: World) -> None:
    gated.pass_gate("one.yaml")
    assert gated.touchstone("gate", "experiments/gates/promotion.yaml", "--config", "one.yaml").code == 0
    digest = str(promoted(gated, "one.yaml", "--corpus", "tiny")["release"])
    leave = Path("datasets/corpora/tiny/hr/leave.md")
    leave.write_text(leave.read_text() + "\nMore.\n")
    assert promoted(gated, "channel:dev", "--channel", "staging")["release"] == digest


def test_mistakes_are_one_line_each(gated: World) -> None:
    for words, said in (
        (("nothing",), "'nothing' names nothing that could be promoted, and no run was logged yet"),
        (("0123abcd" * 4,), "names nothing that could be promoted"),
        (("none.yaml",), "No file 'none.yaml'"),
        (("none.json",), "No file 'none.json'. A sweep writes one"),
        (("channel:dev",), "Channel 'dev' points at nothing yet"),
        (("channel:def",), "No channel 'def'. Did you mean 'dev'?"),
        (("one.yaml", "--channel", "prodd"), "No channel 'prodd'. Did you mean 'prod'?"),
        (("one.yaml", "--corpus", "tinny"), "No corpus 'tinny'"),
        ((), "No sweep has a winner in reports/sweeps yet"),
    ):
        done = gated.touchstone("promote", *words)
        assert done.code == 2, done
        assert done.err.count("\n") == 1, done.err
        assert said in done.err
    assert not Path("releases").exists()


def test_a_beginning_that_several_releases_have_names_none(gated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.promotion.candidate.releases", lambda storage: ["abcd1111", "abcd2222"])  # digests cannot be chosen
    said = gated.touchstone("promote", "abcd")
    assert said.code == 2
    assert "'abcd' begins 2 releases: abcd1111, abcd2222. Write more of the digest." in said.err


def test_a_run_without_a_configuration_is_refused(gated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = LoggedRun("f" * 32, "mine", {}, config="", winner="")
    monkeypatch.setattr("harness.project.project.find_run", lambda word, settings: run)  # MLflow itself: tests/tracking
    said = gated.touchstone("promote", "f" * 32)
    assert said.code == 2
    assert f"MLflow run {'f' * 32} (mine) holds no configuration" in said.err


def test_an_mlflow_server_that_is_down_is_exit_code_3_and_not_an_unknown_run(gated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = gated.touchstone("promote", "nightly")
    assert said.code == 3
    assert "'nightly' is nothing on this machine that could be promoted, and MLflow at http://127.0.0.1:9 failed" in said.err


def test_a_gate_is_held_on_one_thing(gated: World) -> None:
    for words in (
        ("--candidate", "x", "--config", "one.yaml"),
        ("--candidate", "x", "--set", "retrieve.top_k=2"),
        ("--candidate", "x", "--run", "y"),
    ):
        assert gated.touchstone("gate", *words).code == 2
