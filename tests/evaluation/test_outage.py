"""A sweep whose provider throttles, hangs, babbles and dies half-way; and single questions that a provider refuses."""

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.golden.load import load_golden
from harness.golden.sets import GoldenSet
from tests.doubles.bedrock import CREDENTIALS, Answer, BedrockDouble, Call, Hang, Malformed, Refusal, Reply, ServerError, Throttle
from tests.support.world import CONFIG, Said, World

CHATS = {"lite": {"name": "bedrock_converse:amazon.nova-lite-v1:0"}, "pro": {"name": "bedrock_converse:amazon.nova-pro-v1:0"}}
HOSTED = {**CONFIG, "answer": {"models": CHATS}}
FAULTS: dict[int, Answer] = {1: Throttle(), 3: Throttle(), 4: Throttle(), 6: Malformed(), 8: Hang(), 9: ServerError()}
DIES_AFTER = 9  # answers


def read(call: Call) -> Reply:
    """An answer that depends on the prompt alone: the last passage, cited."""
    passages = re.findall(r"<passage n=\"(\d+)\"[^>]*>\n(.*?)\n</passage>", call.text, re.DOTALL)
    number, text = passages[-1]
    return Reply(f"{text.splitlines()[-1]} [{number}]", input_tokens=len(call.text) // 4, output_tokens=len(text) // 4)


def whole(call: Call) -> str:
    """All that decides the answer to a call."""
    return json.dumps([call.model, call.body], sort_keys=True)


def golden(world: World) -> GoldenSet:
    """The tiny golden set."""
    return load_golden(world.root / "datasets", "tiny/v1")


@pytest.fixture(autouse=True)
def hosted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    # The command line takes no other clock; the pauses themselves are tested with one.
    monkeypatch.setattr("serving.pipeline.models.retry.FIRST_PAUSE_S", 0.01)


def experiment(world: World, **changes: Any) -> None:
    """Five trials over two knobs, one call at a time, so that it is known which calls were answered."""
    space = {"retrieve.top_k": {"int": [1, 4]}, "answer.prompt.version": {"choice": [2, 3]}}
    asked = {"name": "hosted", "golden": "tiny/v1", "base": HOSTED, "space": space, "trials": 5, "finalists": 1, "concurrency": 1}
    (world.root / "hosted.yaml").write_text(yaml.safe_dump({**asked, **changes}))


def elsewhere(monkeypatch: pytest.MonkeyPatch, root: Path, name: str) -> None:
    """A stage store and reports of its own."""
    monkeypatch.setenv("TOUCHSTONE_HOME", str(root / name))
    monkeypatch.setenv("TOUCHSTONE_REPORTS", str(root / name / "reports"))


def sweep(world: World, monkeypatch: pytest.MonkeyPatch, double: BedrockDouble, *arguments: str) -> Said:
    monkeypatch.setenv("TOUCHSTONE_BEDROCK_ENDPOINT", double.url)
    return world.touchstone("sweep", *arguments, "--no-tracking", "--json")


def trials(reports: Path) -> list[list[Any]]:
    """Of every finished trial: its values, its state and what every case scored."""
    found = []
    for path in sorted(reports.glob("sweeps/*/trials/*.jsonl")):
        line = json.loads(path.with_suffix(".json").read_text())
        rows = [json.loads(text) for text in path.read_text().splitlines()[1:]]
        scores = [[row["case"]["id"], row["error"], [(one["metric"], one["value"]) for one in row["scores"]]] for row in rows]
        found.append([line["number"], line["values"], line["objectives"], line["state"], scores])
    return found


@pytest.mark.slow
def test_a_sweep_survives_a_provider_that_throttles_hangs_babbles_and_dies(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment(world)
    elsewhere(monkeypatch, world.root, "calm")
    with BedrockDouble(read) as double:
        calm = sweep(world, monkeypatch, double, "hosted.yaml", "--yes")
    assert calm.code == 0, calm.err
    undisturbed = trials(world.root / "calm/reports")
    assert len(undisturbed) == 5

    answered: list[str] = []

    def troubled(call: Call) -> Answer:
        fault = FAULTS.get(len(ill.calls))
        if fault is not None:
            return fault
        if len(answered) == DIES_AFTER:
            threading.Thread(target=ill.close).start()
            return Hang()
        answered.append(whole(call))
        return read(call)

    elsewhere(monkeypatch, world.root, "ill")
    monkeypatch.setenv("TOUCHSTONE_MODEL_TIMEOUT_S", "4")  # an answer takes milliseconds, and on a busy machine tenths of a second
    ill = BedrockDouble(troubled)
    with ill:
        stopped = sweep(world, monkeypatch, ill, "hosted.yaml", "--yes")
    assert stopped.code == 3
    assert "touchstone sweep --" in stopped.err
    assert "did not answer" in stopped.err
    assert len(answered) == DIES_AFTER
    begun = trials(world.root / "ill/reports")
    assert 1 <= len(begun) < 5
    assert begun == undisturbed[: len(begun)]

    monkeypatch.delenv("TOUCHSTONE_MODEL_TIMEOUT_S")
    port = int(ill.url.rpartition(":")[2])
    with BedrockDouble(read, port=port) as back:
        resumed = sweep(world, monkeypatch, back, "--resume")  # it was agreed to when it was begun
        asked = [whole(call) for call in back.calls]
    assert resumed.code == 0, resumed.err
    assert not set(asked) & set(answered)
    assert len(asked) == len(set(asked))
    assert trials(world.root / "ill/reports") == undisturbed
    for key in ("verdict", "values", "config_digest", "trials"):
        assert resumed.json[key] == calm.json[key]  # type: ignore[index]
    assert all(error is None for *_, scores in undisturbed for _, error, _ in scores)


def test_without_a_terminal_and_without_yes_nothing_is_asked_of_a_hosted_model(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment(world)
    with BedrockDouble(read) as double:
        said = sweep(world, monkeypatch, double, "hosted.yaml")
        assert double.calls == []
    assert said.code == 2
    assert "nova-lite" in said.err.splitlines()[-1]
    assert "Add --yes" in said.err.splitlines()[-1]
    assert not list(world.root.glob("reports/sweeps/*"))


def test_a_budget_is_kept_with_real_prices_and_the_end_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with BedrockDouble(read) as double:
        experiment(world, trials=6, concurrency=3)
        price = sweep(world, monkeypatch, double, "hosted.yaml", "--estimate").json
        assert double.calls == []
        base = len(golden(world).tune().cases)
        budget = price["proof_usd"] + 1.001 * base * price["case_usd"]  # type: ignore[index]  # enough for the base alone, if it is dear
        said = sweep(world, monkeypatch, double, "hosted.yaml", "--yes", "--budget", str(budget))
        paid = sum(cost(call) for call in double.calls)
    assert said.code == 0, said.err
    found = said.json
    assert isinstance(found, dict)
    assert found["spent_usd"] == pytest.approx(paid)
    assert paid <= budget
    assert found["ended"].startswith("the next cases might not be paid for by the budget")
    assert 1 <= found["trials"] < 6
    assert json.loads(next(world.root.glob("reports/sweeps/*/sweep.json")).read_text())["estimate"] == found["estimate"]


def cost(call: Call) -> float:
    """Dollars of a call at Nova's prices, by hand."""
    reply, (asked, said) = read(call), {"amazon.nova-lite-v1:0": (0.06, 0.24), "amazon.nova-pro-v1:0": (0.8, 3.2)}[call.model]
    return (reply.input_tokens * asked + reply.output_tokens * said) / 1_000_000


@pytest.mark.parametrize("what", ["eval", "sweep"])
def test_one_question_that_the_provider_refuses_is_a_row_and_not_the_end(what: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [case for case in golden(world).cases if case.answerable]
    hidden = [next(case.question for case in cases if golden(world).split_of(case) == split) for split in ("tune", "holdout")]

    def strict(call: Call) -> Answer:
        asked = any(question in call.text for question in hidden)
        return Refusal("ValidationException", 400, "This text is not allowed.") if asked else read(call)

    experiment(world, base={**HOSTED, "retrieve": {"top_k": 1}}, trials=2, space={"answer.prompt.version": {"choice": [2, 3]}})
    with BedrockDouble(strict) as double:
        if what == "sweep":
            said = sweep(world, monkeypatch, double, "hosted.yaml", "--yes")
            files = sorted(world.root.glob("reports/sweeps/*/trials/*.jsonl"))
        else:
            monkeypatch.setenv("TOUCHSTONE_BEDROCK_ENDPOINT", double.url)
            (world.root / "hosted-config.yaml").write_text(yaml.safe_dump(HOSTED))
            said = world.touchstone("eval", "-c", "hosted-config.yaml", "-g", "tiny/v1", "--split", "all", "--no-tracking", "--json")
            files = sorted(world.root.glob("reports/runs/**/*.jsonl"))
    assert said.code == 0, said.err
    assert files
    for path in files:
        rows = [json.loads(text) for text in path.read_text().splitlines()[1:]]
        wrong = [row["error"] for row in rows if row["error"]]
        assert 1 <= len(wrong) < len(rows)
        assert all(error["kind"] == "RequestError" and not error["infrastructure"] and "not allowed" in error["message"] for error in wrong)
        assert all(score["value"] is None for row in rows if row["error"] for score in row["scores"])


@pytest.mark.parametrize("refusal", [Refusal("ValidationException", 400, "bad parameter"), Refusal("AccessDeniedException", 403, "no")])
@pytest.mark.slow
def test_what_the_provider_refuses_every_time_ends_the_sweep_as_the_users_mistake(
    refusal: Refusal, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment(world)
    with BedrockDouble(lambda _: refusal) as double:
        said = sweep(world, monkeypatch, double, "hosted.yaml", "--yes")
    assert said.code == 2
    assert refusal.message in said.err
