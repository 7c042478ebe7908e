import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

import touchstone
from harness.golden.seal import seal
from harness.settings import read_settings, settings_overrides
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import NotProven
from tests.support.world import CONFIG, REPOSITORY, World, furnish
from touchstone import ConfigError, DataError, EvalReport, Project, run

QUESTION = "How many days of paid holiday does an employee have?"
FEW = {"golden": "tiny", "metrics": ("quality", "recall@2"), "cases": 3}


@pytest.fixture
def project(world: World) -> Project:
    """The small company, as a library sees it."""
    return Project.open(world.root)


def results(root: Path) -> set[str]:
    """Every file in the reports."""
    return {path.relative_to(root).as_posix() for path in (root / "reports").rglob("*") if path.is_file()}


def test_every_name_of_the_public_face_is_there_and_explains_itself() -> None:
    assert sorted(touchstone.__all__) == touchstone.__all__
    for name in touchstone.__all__:
        assert getattr(touchstone, name).__doc__, name
    assert (Path(touchstone.__file__).parent / "py.typed").exists()


def test_an_evaluation_writes_nothing_but_what_was_computed_unless_it_has_a_name(project: Project, world: World) -> None:
    report = run(project.evaluate("tiny.yaml", **FEW))  # type: ignore[arg-type]
    assert report.mean("recall@2") == 1.0
    assert results(world.root) == set()
    assert {path.name for path in (world.root / ".touchstone").iterdir()} == {"indexes", "stages"}
    run(project.evaluate("tiny.yaml", name="kept", **FEW))  # type: ignore[arg-type]
    assert results(world.root) == {"reports/runs/kept/" + name for name in ("cases.jsonl", "report.html", "report.md")}
    with pytest.raises(ConfigError, match="There is an evaluation named 'kept' already"):
        run(project.evaluate("tiny.yaml", name="kept", **FEW))  # type: ignore[arg-type]


def test_a_configuration_is_named_in_every_way(project: Project, world: World) -> None:
    config = RagConfig.parse(CONFIG)
    run(project.evaluate(config, name="kept", **FEW))  # type: ignore[arg-type]
    for what in (CONFIG, config, "tiny.yaml", Path("tiny.yaml"), "kept", run(project.evaluate(CONFIG, **FEW))):  # type: ignore[arg-type]
        assert project.config(what) == config, what
    assert project.config(None) == project.config("default") == RagConfig.parse({})
    assert project.config("tiny.yaml", {"retrieve.top_k": 7}).retrieve.top_k == 7
    for what, words in ((3, "answers no questions"), ("nothing", "names nothing"), (print, "an app of yours, not a configuration")):
        with pytest.raises(ConfigError, match=words):
            project.config(what)


def test_it_works_awaited_and_beside_a_running_loop_and_in_a_script(project: Project) -> None:
    async def notebook() -> list[EvalReport]:
        first = await project.evaluate("tiny.yaml", **FEW)  # type: ignore[arg-type]
        second = run(project.evaluate("tiny.yaml", store=False, **FEW))  # type: ignore[arg-type]  # another loop, the same open index
        third = await project.evaluate("tiny.yaml", store=False, **FEW)  # type: ignore[arg-type]
        return [first, second, third]

    reports = [*asyncio.run(notebook()), run(project.evaluate("tiny.yaml", store=False, **FEW))]  # type: ignore[arg-type]
    assert len({json.dumps([[row.case.id, row.value("recall@2"), row.value("quality")] for row in one.rows]) for one in reports}) == 1


def test_what_is_awaited_beside_a_loop_raises_there_what_it_raises(project: Project) -> None:
    async def notebook() -> None:
        run(project.evaluate("tiny.yaml", "tinny"))

    with pytest.raises(DataError, match="Did you mean 'tiny/v1'"):
        asyncio.run(notebook())


def test_ctrl_c_ends_what_runs_beside_a_loop() -> None:
    ended: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("work")

    async def notebook() -> None:
        with pytest.raises(KeyboardInterrupt):
            run(work())

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a notebook; asyncio.run has a handler of its own
    try:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(notebook())
        loop.close()
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == ["work"]


def test_models_and_indexes_stay_open_until_a_document_or_a_prompt_changes(project: Project, world: World) -> None:
    first = run(project.ask(QUESTION, "tiny.yaml", corpus="tiny"))
    context = project._contexts._known
    [(_, before)] = context.values()
    run(project.ask(QUESTION, "tiny.yaml", corpus="tiny"))
    [(_, same)] = context.values()
    assert same is before
    (world.root / "datasets/corpora/tiny/hr/leave.md").write_text("# Leave\n\nEvery employee has 31 days of paid holiday a year.\n")
    after = run(project.ask(QUESTION, "tiny.yaml", corpus="tiny"))
    assert ("30 days" in first.answer.text, "31 days" in after.answer.text) == (True, True)


def test_reports_runs_and_configurations_are_compared(project: Project, world: World) -> None:
    one = run(project.evaluate("tiny.yaml", name="one", **FEW))  # type: ignore[arg-type]
    changed = project.config("tiny.yaml", {"retrieve.top_k": 1})
    two = run(project.evaluate(changed, **FEW))  # type: ignore[arg-type]
    whole = run(project.compare(one, two))
    assert [(change.path, change.after) for change in whole.changes] == [("retrieve.top_k", 1)]
    assert run(project.compare("one", changed)).verdict == whole.verdict
    assert not (world.root / "reports/compare").exists()
    run(project.compare(one, two, name="x"))
    assert {path.name for path in (world.root / "reports/compare/x").iterdir()} == {"report.html", "report.md", "compare.json"}


def test_a_gate_is_held_on_a_configuration_and_on_what_was_evaluated(project: Project, world: World) -> None:
    rule = {"id": "q", "rule": "floor", "metric": "quality", "at_least": 0.1}
    gate = {"name": "small", "golden": "tiny/v1", "split": "all", "metrics": ["quality"], "rules": [rule]}
    (world.root / "gate.yaml").write_text(yaml.safe_dump(gate))
    held = run(project.gate("gate.yaml", "tiny.yaml"))
    assert held.decision.state == "pass"
    assert not (world.root / "reports").exists()
    again = run(project.gate("gate.yaml", held.report, name="kept"))
    assert again.decision.rulings == held.decision.rulings
    assert (world.root / "reports/gates/kept/decision.json").exists()
    assert [one.path.name for one in run(project.record_champion(held.report, ["gate.yaml"]))] == ["tiny-v1-all.jsonl"]
    assert [one.report.header.config_digest for one in project.champions(["gate.yaml"])] == [held.report.header.config_digest]
    with pytest.raises(ConfigError, match="an app of yours"):
        run(project.gate("gate.yaml", lambda question: "30 days"))


@pytest.mark.slow
def test_a_project_elsewhere_with_other_settings_is_searched_and_promoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the working directory: what the environment does not say reaches the sweep's worker processes too."""
    home, here = tmp_path / "company", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    furnish(home)
    monkeypatch.chdir(here)
    project = Project.open(home, prompts=REPOSITORY / "prompts", releases=str(home / "shipped"), mlflow_model="")
    seal(project.settings.datasets, "tiny/v1", project.corpus("tiny"))
    result = run(project.sweep(home / "small.yaml", trials=2, workers=2))
    assert len(result.trials) == 2
    rule = {"id": "errors", "rule": "errors"}
    (home / "gate.yaml").write_text(yaml.safe_dump({"name": "g", "golden": "tiny/v1", "metrics": ["quality"], "rules": [rule]}))
    with pytest.raises(NotProven):
        run(project.promote(gate=home / "gate.yaml"))
    assert run(project.gate(home / "gate.yaml", result.winner.trial.config, name="first")).decision.state == "pass"
    promoted = run(project.promote(gate=home / "gate.yaml"))
    assert promoted.release.digest == result.winner.holdout.header.config_digest
    (home / "experiments" / "gates").mkdir(parents=True)
    (home / "gate.yaml").rename(home / "experiments" / "gates" / "promotion.yaml")
    assert run(project.promote()).release.digest == promoted.release.digest  # by the gates of its own folder
    trace = run(project.ask(QUESTION, "channel:dev"))
    assert trace.release_digest == promoted.release.digest
    assert run(project.ask(QUESTION, promoted.release.digest[:8])).answer == trace.answer
    assert list(here.iterdir()) == []
    made = {"reports", ".touchstone", "shipped"}
    assert {path.name for path in home.iterdir()} == {"datasets", "tiny.yaml", "small.yaml", "experiments", *made}


def test_hosted_models_are_not_paid_for_unasked(project: Project, world: World) -> None:
    nova: dict[str, Any] = {tier: {"name": "bedrock_converse:amazon.nova-lite-v1:0"} for tier in ("lite", "pro")}
    experiment = yaml.safe_load((world.root / "small.yaml").read_text()) | {"base": {**CONFIG, "answer": {"models": nova}}}
    assert run(project.estimate(experiment)).usd.high > 0
    with pytest.raises(ConfigError, match=r"nova-lite-v1:0 would be paid for, up to \$.* Pass yes=True"):
        run(project.sweep(experiment))
    assert not (world.root / "reports").exists()


def test_settings_given_by_hand_come_first_and_unknown_ones_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_REPORTS", "elsewhere")
    (tmp_path / ".env").write_text("TOUCHSTONE_AWS_REGION=eu-west-1\n")
    project = Project.open(tmp_path, mlflow_uri="http://mlflow", indexes="s3://bucket/x")
    found = project.settings
    assert (found.reports, found.aws_region, found.mlflow_uri) == (tmp_path / "elsewhere", "eu-west-1", "http://mlflow")
    assert (found.indexes, found.datasets) == ("s3://bucket/x", tmp_path / "datasets")
    assert settings_overrides(read_settings()) == {}
    assert read_settings(**settings_overrides(found)) == found
    with pytest.raises(ConfigError, match="No setting 'report'. Did you mean 'reports'"):
        Project.open(report="x")


def test_an_answer_and_a_corpus_show_themselves_in_short(project: Project) -> None:
    trace = run(project.ask("word " * 9000 + QUESTION, "tiny.yaml", corpus="tiny"))
    assert trace.answer.text[:600] in repr(trace) and len(repr(trace)) < 2000
    assert repr(project.corpus("tiny")).startswith("<Corpus tiny: 5 documents")
