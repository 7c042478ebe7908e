"""Personal data of a question is in no file, log, trace or metric, whichever way it was asked."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.app.making import House, config, opened
from tests.support.world import World

pytestmark = pytest.mark.slow
MAIL, CARD, SSN, PHONE = "jane.roe@example.com", "4111 1111 1111 1111", "536-90-4399", "+49 30 901820"
PLANTED = (MAIL, CARD, SSN, PHONE, "4111111111111111", "536904399", "jane.roe", "901820")
QUESTION = f"I am {MAIL}, {PHONE}, card {CARD}. For how long is sick leave paid?"
BLOCKED = f"My number is {SSN} and my address {MAIL}. For how long is sick leave paid?"
GUARD: dict[str, Any] = {
    "input": {"pii": {"name": "pii", "kinds": {"EMAIL_ADDRESS": "mask", "PHONE_NUMBER": "mask", "CREDIT_CARD": "mask", "US_SSN": "block"}}}
}


def leaks(folder: Path, *but: Path) -> Iterator[str]:
    """Each file below a folder that holds what was planted."""
    for path in folder.rglob("*"):
        if path.is_file() and not any(path.is_relative_to(known) for known in but):
            data = path.read_bytes()
            yield from (f"{path.relative_to(folder)}: {value}" for value in PLANTED if value.encode() in data)


def guarded(world: World) -> Path:
    """The tiny configuration with a guard of personal data, and two questions in the golden set that hold some."""
    settings = yaml.safe_load((world.root / "tiny.yaml").read_text())
    (world.root / "guarded.yaml").write_text(yaml.safe_dump({**settings, "guard": GUARD, "cache": {"lookup": {"name": "exact"}}}))
    golden = world.root / "datasets" / "golden" / "tiny" / "v1"
    lines = [json.loads(line) for line in (golden / "cases.jsonl").read_text().splitlines()]
    lines[0]["question"], lines[1]["question"] = BLOCKED, QUESTION
    (golden / "cases.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (golden / "SHA256").unlink(missing_ok=True)
    assert world.touchstone("golden", "seal", "tiny").code == 0
    return golden


@pytest.mark.parametrize("question", [QUESTION, BLOCKED])
def test_asking_writes_nothing_of_it_and_shows_it_to_nobody_but_the_asker(world: World, question: str) -> None:
    golden = guarded(world)
    asked = world.touchstone("ask", question, "--corpus", "tiny", "-c", "guarded.yaml", "--json")
    assert asked.code == 0, asked.err
    assert not [value for value in PLANTED if value in asked.out + asked.err]
    assert list(leaks(world.root, golden)) == []


def test_an_evaluation_with_its_report_its_store_and_its_run_in_mlflow_holds_nothing_of_it(world: World) -> None:
    golden = guarded(world)
    said = world.touchstone("eval", "-c", "guarded.yaml", "--golden", "tiny", "--split", "all", "--name", "first", "--json")
    assert said.code == 0, said.err
    assert not [value for value in PLANTED if value in said.out + said.err]
    assert (world.root / ".touchstone" / "mlflow" / "mlflow.db").exists()
    assert list(leaks(world.root, golden)) == []
    report = "".join(path.read_text() for path in world.root.rglob("*.jsonl") if not path.is_relative_to(golden))
    assert "I am <EMAIL_1>, <PHONE_1>, card <CARD_1>." in report  # it was asked


def test_a_sweep_holds_nothing_of_it(world: World) -> None:
    golden = guarded(world)
    experiment = yaml.safe_load((world.root / "small.yaml").read_text())
    (world.root / "small.yaml").write_text(yaml.safe_dump({**experiment, "base": {**experiment["base"], "guard": GUARD}, "trials": 2}))
    said = world.touchstone("sweep", "small.yaml")
    assert said.code == 0, said.err
    assert not [value for value in PLANTED if value in said.out + said.err]
    assert list(leaks(world.root, golden)) == []


async def test_the_api_logs_counts_and_keeps_nothing_of_it_and_answers_with_it(tmp_path: Path) -> None:
    house = House(tmp_path)
    echo: dict[str, Any] = {f"answer.models.{tier}.text": "I know <EMAIL_1> and <CARD_1> [1]." for tier in ("lite", "pro")}
    await house.release(config(**echo, **{"guard.input.pii.name": "pii", "guard.input.pii.kinds": GUARD["input"]["pii"]["kinds"]}))
    async with opened(house.settings(log_level="debug", expose_trace=True)) as api:
        answer = await api.ask(QUESTION)
        streamed = await api.client.post("/v1/query/stream", json={"question": QUESTION})
        traced = await api.client.post("/v1/query?trace=1", json={"question": QUESTION})
        blocked = await api.ask(BLOCKED)
        metrics = (await api.client.get("/metrics")).text
        log, lines = api.log_text, api.log
    assert answer.json()["answer"] == f"I know {MAIL} and {CARD} [1]."
    assert f"I know {MAIL} and {CARD}" in "".join(
        json.loads(line.removeprefix("data: "))["text"] for line in streamed.text.splitlines() if line.startswith('data: {"text"')
    )
    assert not [value for value in PLANTED if value in json.dumps(traced.json()["trace"])]
    assert blocked.json()["refused"]
    assert not [value for value in PLANTED if value in log + metrics]
    assert list(leaks(house.root)) == []
    incidents = [line for line in lines if line["event"] == "guard_incident"]
    assert [(one["check"], one["rule"], one["action"]) for one in incidents][-1] == ("pii", "US_SSN", "block")
    assert len(incidents) == 4
    assert 'touchstone_guard_incidents_total{action="block",check="pii",rule="US_SSN",side="input"} 1.0' in metrics
    requests = [line for line in lines if line["event"] == "request" and line.get("route", "").startswith("/v1/query")]
    assert not any("question_digest" in line for line in requests)  # the digest of a number can be guessed
