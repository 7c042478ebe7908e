"""Every mistake is one line that names the mend, with exit code 2; what this machine lacks is 3."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness.settings import HarnessSettings
from serving.app.settings import AppSettings
from serving.pipeline.settings import PipelineSettings, misspelt, variables
from tests.support.waiting import WITHIN_S
from tests.support.world import CONFIG, World

QUESTION = "How many days of paid holiday does an employee have?"


def refused(world: World, *arguments: str) -> str:
    """What a command said that refused to work, in its one line."""
    said = world.touchstone(*arguments)
    assert said.code == 2, said
    assert said.err.startswith("touchstone: ")
    assert said.err.count("\n") == 1, said.err
    return said.err


@pytest.fixture
def taken() -> Iterator[str]:
    """A port on which another program listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield str(other.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("command", ["ui", "serve"])
def test_a_port_in_use_is_named_with_a_free_one(world: World, taken: str, command: str) -> None:
    said = refused(world, command, "--port", taken)
    assert f"Port {taken} on 127.0.0.1 is in use by another program. Choose another: --port " in said


def test_the_api_started_by_itself_refuses_a_port_in_use_before_it_logs(
    world: World, taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from serving.app.__main__ import main

    assert main(["--port", taken]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"touchstone: Port {taken} on 127.0.0.1 is in use")
    assert said.err.count("\n") == 1


def test_an_address_of_another_machine_cannot_be_listened_on(world: World) -> None:
    assert "--host '192.0.2.1': no address of this machine" in refused(world, "serve", "--host", "192.0.2.1")


def test_a_channel_that_is_none_is_told_in_our_words(world: World) -> None:
    assert "No channel 'nosuch'. Known: dev, staging, prod." in refused(world, "serve", "--channel", "nosuch")


def test_a_question_that_asks_nothing_is_refused(world: World) -> None:
    assert "A question is a text that asks something, not ''" in refused(world, "ask", "", "--corpus", "tiny", "-c", "tiny.yaml")
    assert not (world.root / ".touchstone").exists(), "refused before anything is built"


def test_what_no_document_has_is_refused_with_what_there_is(world: World) -> None:
    (world.root / "datasets/corpora/tiny/hr/old.md").write_text("---\nstatus: current\n---\n# Leave\n\nThere were 25 days of holiday.\n")
    ask = ("ask", QUESTION, "--corpus", "tiny", "-c", "tiny.yaml")
    assert "has status=curent. Did you mean 'current'? Values of 'status': current." in refused(world, *ask, "--where", "status=curent")
    assert "has the key 'statsu'. Did you mean 'status'?" in refused(world, *ask, "--where", "statsu=current")
    assert "is of domain 'hrr'. Did you mean 'hr'? Domains: finance, hr, it." in refused(world, *ask, "--domain", "hrr")


def test_a_release_without_a_name_is_refused(world: World) -> None:
    assert "No release ''" in refused(world, "release", "show", "")


@pytest.mark.parametrize("uri", ["nonsense", "foo://x/y", "sqlite://", "./mlruns"])
def test_an_address_at_which_mlflow_keeps_nothing_is_the_users_mistake(world: World, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("TOUCHSTONE_MLFLOW_URI", uri)
    said = refused(world, "eval", "-c", "tiny.yaml", "--golden", "tiny", "--name", "x")
    assert f"{uri!r} is no address of MLflow. Write one of http://…" in said
    assert "sqlite:////home/me/mlflow.db" in said
    assert not (world.root / "reports" / "runs").exists()


def test_a_database_without_its_driver_names_the_package(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_MLFLOW_URI", "postgresql://me:secret@localhost/mlflow")
    monkeypatch.setitem(sys.modules, "psycopg", None)  # not there, whatever is installed
    said = refused(world, "eval", "-c", "tiny.yaml", "--golden", "tiny", "--name", "x")
    assert "needs the driver 'psycopg'. Run: pip install 'psycopg[binary]'" in said
    assert "secret" not in said


FULL_DISK = """
import resource, sys
from harness.cli import run
from harness.settings import read_settings
from harness.tracking.mlflow import MlflowTracker
MlflowTracker(read_settings())
size = 4096 + (read_settings().home / "mlflow" / "mlflow.db").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
sys.exit(run(["eval", "-c", "tiny.yaml", "--golden", "tiny", "--no-store"]))
"""


@pytest.mark.slow
@pytest.mark.usefixtures("tracked")
def test_a_full_disk_below_mlflow_is_one_line(world: World) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", FULL_DISK], capture_output=True, text=True, env=environment)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    [said] = [line for line in done.stderr.splitlines() if not line.startswith(("cases:", "indexing:"))]
    assert "failed: (sqlite3.OperationalError)" in said
    assert "Is there room on its disk?" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "set.jsonl: is empty."),
        ("\n\n", "set.jsonl: is empty."),
        ('{"question": \n{"question": "q"}\n', "set.jsonl:1: not JSON"),
        ('\n["q"]\n', "set.jsonl:2: an object"),
        ("{}\n", "set.jsonl:1: an object without a field"),
    ],
)
def test_a_golden_set_that_cannot_be_read_is_named_with_its_line(world: World, text: str, words: str) -> None:
    (world.root / "set.jsonl").write_text(text)
    assert words in refused(world, "golden", "import", "set.jsonl", "--name", "new", "--corpus", "tiny")


def test_a_gate_without_a_champion_names_its_own_file(world: World) -> None:
    rules = [{"id": "same", "rule": "non_inferior", "metric": "quality", "margin": 0.1}]
    Path("my gate.yaml").write_text(yaml.safe_dump({"name": "mine", "golden": "tiny/v1", "metrics": ["quality"], "rules": rules}))
    said = refused(world, "gate", "my gate.yaml", "-c", "tiny.yaml", "--champion", "nowhere.jsonl")
    assert "'nowhere.jsonl' is not there. Run: touchstone champion set 'my gate.yaml'" in said


@pytest.mark.parametrize("command", [("ask", QUESTION), ("eval",), ("index",), ("golden", "show"), ("compare", "default", "default")])
def test_outside_of_a_project_it_is_said_where_was_looked_and_what_to_do(
    world: World, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    (world.root / "elsewhere").mkdir()
    monkeypatch.chdir(world.root / "elsewhere")
    said = refused(world, *command)
    assert f"there is no folder '{world.root}/elsewhere/datasets/" in said
    assert "touchstone init DIR" in said


def test_values_that_contradict_each_other_are_told_once(world: World) -> None:
    said = refused(world, "config", "show", "-s", "index.chunker.overlap=5000")
    assert "overlap 5000 must be smaller than size 900." in said
    assert "value error" not in said


def test_a_misspelt_setting_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong, right in (("HOEM", "HOME"), ("MODEL_ATTEMTPS", "MODEL_ATTEMPTS"), ("MLFLOW_URL", "MLFLOW_URI"), ("DATASET", "DATASETS")):
        with monkeypatch.context() as patched:
            patched.setenv(f"TOUCHSTONE_{wrong}", "1")
            said = refused(world, "config", "settings")
            assert f"TOUCHSTONE_{wrong} is no setting. Did you mean 'TOUCHSTONE_{right}'?" in said
    (world.root / ".env").write_text("TOUCHSTONE_REPORT=elsewhere\n")
    assert "TOUCHSTONE_REPORT is no setting. Did you mean 'TOUCHSTONE_REPORTS'?" in refused(world, "config", "settings")


def test_no_setting_of_one_part_is_taken_for_a_misspelt_one_of_another() -> None:
    parts = (PipelineSettings, AppSettings, HarnessSettings)
    for variable in {name for part in parts for name in variables(part)}:
        assert not any(misspelt(variable, variables(part)) for part in parts), variable


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_configuration_is_refused(world: World, text: str) -> None:
    (world.root / "empty.yaml").write_text(text)
    assert "empty.yaml: says nothing. Write what differs" in refused(world, "config", "show", "-c", "empty.yaml")


def test_an_objective_that_the_golden_set_cannot_score_is_refused_before_anything_runs(world: World) -> None:
    folder = world.root / "datasets/golden/tiny/v1"
    rows = [json.loads(line) for line in (folder / "cases.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("key_facts", None)
    (folder / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert world.touchstone("golden", "seal", "tiny").code == 0
    space = {"retrieve.top_k": {"int": [1, 4]}}
    experiment = {"name": "small", "golden": "tiny/v1", "base": CONFIG, "objective": ["key_facts"], "space": space}
    (world.root / "facts.yaml").write_text(yaml.safe_dump(experiment))
    said = refused(world, "sweep", "facts.yaml", "--no-tracking")
    assert "objective 'key_facts' can score none of the 5 tune cases of tiny/v1: the case has no key facts" in said
    assert "Choose another objective, such as 'quality'" in said
    assert not (world.root / "reports").exists()
    (world.root / "facts.yaml").write_text(yaml.safe_dump(experiment | {"objective": ["token_f1"]}))
    assert world.touchstone("sweep", "facts.yaml", "--estimate").code == 0


NEVER_ENDING = """
import threading, pathlib
from langchain_core.embeddings import Embeddings
from serving.pipeline.registry import Params

class Stuck(Embeddings):
    version = "1"
    Params = Params
    price_model = ""
    simulated = False

    def __init__(self, params, *, name, settings): ...

    def connect(self):
        return self

    def embed_documents(self, texts):
        pathlib.Path("embedding").touch()
        threading.Event().wait()

    embed_query = embed_documents
"""


@pytest.mark.slow
def test_ctrl_c_while_indexing_ends_at_once_and_leaves_nothing_half_written(world: World) -> None:
    (world.root / "stuck.py").write_text(NEVER_ENDING)
    command = [sys.executable, "-m", "harness", "index", "--corpus", "tiny", "-s", "index.embedder={name: 'stuck:Stuck'}"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            while process.poll() is None and not (world.root / "embedding").exists():
                time.sleep(0.01)  # the other process needs the core
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=WITHIN_S)  # the thread never ends: it must not be waited for
        finally:
            process.kill()
    assert process.returncode == 130, said
    assert said == "touchstone: stopped; what was finished is kept\n"
    assert [path.name for path in (world.root / ".touchstone" / "indexes").iterdir()] == []
