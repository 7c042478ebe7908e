import asyncio
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.evaluation.record import record_evaluation
from harness.git_commit import code_version
from harness.golden.sets import Split
from harness.metrics import metric
from harness.settings import HarnessSettings
from harness.tracking import tracker
from harness.tracking.memory import MemoryRun
from harness.tracking.mlflow import MlflowTracker
from serving.pipeline.errors import TrackingError
from tests.support.gating import a_report
from tests.support.making import a_case
from tests.support.mlflow import copy_database
from tests.support.world import World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> HarnessSettings:
    home = tmp_path_factory.mktemp("home")
    copy_database(empty_database, home)
    return HarnessSettings(home=home, MLFLOW_TRACKING_URI="", MLFLOW_RUN_ID="")


def test_a_run_and_its_child_are_logged_with_everything_they_were_told(places: HarnessSettings) -> None:
    tracker = MlflowTracker(places)
    with tracker.run("parent") as parent:
        parent.tags({"touchstone.verdict": "better"})
        with parent.child("trial 0") as child:
            child.params({f"a.b{index}": index for index in range(150)})
            child.metrics({"recall@5": 0.5, "unscored": None})
            child.dataset(Split("tiny/v1", "tune", (a_case(),), "g"))
            child.table("cases.json", [{"case": "c1", "recall@5": 0.5}])
            child.text("note.md", "# note")
    from mlflow import MlflowClient

    client = MlflowClient(places.tracking_uri)
    got = client.get_run(child.id)
    assert got.info.status == "FINISHED"
    assert got.data.tags["mlflow.parentRunId"] == parent.id
    assert len(got.data.params) == 150
    assert got.data.metrics == {"recall_at_5": 0.5}
    assert got.inputs.dataset_inputs[0].dataset.name == "tiny/v1:tune"
    assert {file.path for file in client.list_artifacts(child.id)} == {"cases.json", "note.md"}
    assert client.get_run(parent.id).data.tags["touchstone.verdict"] == "better"
    assert Path(places.home, "mlflow", "artifacts").is_dir()


def test_a_dataset_that_another_process_logs_at_the_same_moment_is_logged_all_the_same(
    places: HarnessSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from sqlalchemy.exc import IntegrityError

    calls: list[str] = []
    plain = MlflowClient.log_inputs

    def losing(self: MlflowClient, run_id: str, *arguments: Any) -> Any:
        calls.append(run_id)
        if len(calls) == 1:  # what the slower of two is told
            raise IntegrityError("INSERT INTO datasets", None, Exception("UNIQUE constraint failed: datasets.digest"))
        return plain(self, run_id, *arguments)

    monkeypatch.setattr(MlflowClient, "log_inputs", losing)
    with MlflowTracker(places).run("racing") as run:
        run.dataset(Split("tiny/v1", "tune", (a_case(),), "r"))
    assert calls == [run.id, run.id]
    assert MlflowClient(places.tracking_uri).get_run(run.id).inputs.dataset_inputs[0].dataset.name == "tiny/v1:tune"


def test_a_number_step_by_step_is_logged_in_few_requests(places: HarnessSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    sent: list[int] = []
    plain = MlflowClient.log_batch

    def counting(self: MlflowClient, run_id: str, **more: Any) -> Any:
        sent.append(len(more.get("metrics", ())))
        return plain(self, run_id, **more)

    monkeypatch.setattr(MlflowClient, "log_batch", counting)  # the store does not tell how it was asked
    values = [step / 1100 for step in range(1100)]
    with MlflowTracker(places).run("sweep") as run:
        run.history("tune.recall@5", [*values, None, 2.0])
    assert sent == [1000, 101]
    kept = MlflowClient(places.tracking_uri).get_metric_history(run.id, "tune.recall_at_5")
    assert [(one.step, one.value) for one in sorted(kept, key=lambda one: one.step)] == [*enumerate(values), (1101, 2.0)]


def test_without_tracking_nothing_is_kept_of_what_a_run_was_told(places: HarnessSettings) -> None:
    class Row(dict[str, object]):
        """One that says when it is gone."""

    with tracker(places, enabled=False).run("sweep") as run:
        with run.child("trial 0") as child:
            record_evaluation(child, a_report(0.5), Split("tiny/v1", "tune", (a_case(),), "g"))
            row = Row(case="c1")
            told = weakref.ref(row)
            child.table("cases.json", [row])
            child.text("report.html", "x")
        run.history("tune.quality", [0.5])
        run.forget(())
        del row
        gc.collect()
        assert told() is None
        assert (run.id, run.url, child.id) == ("", "", "")


def test_a_page_written_without_tracking_names_no_run(world: World) -> None:
    found = world.touchstone("sweep", "small.yaml", "--no-tracking", "--json", "--trials", "2").json
    assert isinstance(found, dict)
    assert found["run"] == ""
    assert "MLflow run" not in Path(found["report"]).read_text()
    assert not (world.root / ".touchstone/mlflow").exists()


def test_a_run_left_by_an_exception_is_failed_and_by_the_keyboard_killed(places: HarnessSettings) -> None:
    tracker = MlflowTracker(places)
    ids: list[str] = []
    for error in (ValueError, KeyboardInterrupt, asyncio.CancelledError):
        with pytest.raises(error), tracker.run("bad") as run:
            ids.append(run.id)
            raise error
    from mlflow import MlflowClient

    client = MlflowClient(places.tracking_uri)
    assert [client.get_run(ident).info.status for ident in ids] == ["FAILED", "KILLED", "KILLED"]


def test_the_run_that_mlflow_run_opened_is_gone_on_with(places: HarnessSettings) -> None:
    from mlflow import MlflowClient

    MlflowTracker(places)
    client = MlflowClient(places.tracking_uri)
    opened = client.create_run(client.get_experiment_by_name("touchstone").experiment_id)
    inside = HarnessSettings(home=places.home, MLFLOW_RUN_ID=opened.info.run_id)
    with MlflowTracker(inside).run("sweep") as run:
        assert run.id == opened.info.run_id
    assert client.get_run(run.id).info.status == "RUNNING"  # it is mlflow's to end


def test_an_unreachable_server_is_one_clear_line_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    dead = HarnessSettings(home=tmp_path, MLFLOW_TRACKING_URI="http://me:secret@127.0.0.1:9")
    with pytest.raises(TrackingError) as caught:
        MlflowTracker(dead)
    assert "MLflow at http://me:***@127.0.0.1:9 failed" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("tracked")
def test_every_run_of_a_sweep_names_its_prompts_code_metrics_and_judge(world: World) -> None:
    asked = yaml.safe_load((world.root / "small.yaml").read_text())
    (world.root / "small.yaml").write_text(yaml.safe_dump(asked | {"judge": "local", "metrics": ["quality", "recall@5"]}))
    assert world.touchstone("sweep", "small.yaml", "--json").code == 0
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{world.root}/.touchstone/mlflow/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("touchstone").experiment_id])
    assert len(runs) > 4  # the sweep, three trials, finalists
    versions = {name: metric(name).version for name in ("quality", "recall@5")}
    prompts: dict[str, set[str]] = {}
    for run in runs:
        tags, params = run.data.tags, run.data.params
        assert tags["touchstone.code"] == code_version() != ""
        assert tags["touchstone.metric_versions"] == ", ".join(f"{name} {version}" for name, version in versions.items())
        assert tags["touchstone.judge"].startswith("local ")
        version = params.get("answer.prompt.version") or tags.get("winner.answer.prompt.version", "")
        prompts.setdefault(version, set()).add(tags["touchstone.prompts_digest"])
    assert len(prompts) > 1
    assert all(len(digests) == 1 for digests in prompts.values())
    assert len(set.union(*prompts.values())) == len(prompts)


def test_a_run_without_a_judge_has_no_tag_of_one() -> None:
    run, report = MemoryRun("r", "x"), a_report(0.5)
    record_evaluation(run, report, Split("tiny/v1", "tune", (a_case(),), "g"))
    assert "touchstone.judge" not in run.logged_tags
    assert "touchstone.prompts_digest" not in run.logged_tags  # a report from before it was kept
