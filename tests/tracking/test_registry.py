"""Releases and prompts in MLflow's registries, as MLflow itself gives them back."""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.git_commit import ROOT
from harness.project.registration import register, register_promoted
from harness.settings import HarnessSettings
from harness.tracking.logged import find_run
from harness.tracking.mlflow import MlflowTracker
from harness.tracking.registry import aliased, follow_channels, register_release
from harness.tracking.requirements import pinned_requirements
from serving.pipeline.errors import ConfigError
from serving.release.bundle import load_release
from serving.release.channel import Channel, ChannelChange, find_channel
from tests.app.making import QUESTION, SAYS, House, config
from tests.support.mlflow import copy_database
from tests.support.releasing import point, prove


@dataclass(frozen=True)
class Registry:
    """A house with a release that is registered, and MLflow's client."""

    house: House
    settings: HarnessSettings
    digest: str

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.settings.tracking_uri)

    def register(self, digest: str) -> Any:
        channels = [channel for name in ("dev", "staging", "prod") if (channel := find_channel(self.house.storage, name))]
        return register_release(load_release(self.house.storage, digest), self.house.storage, self.settings, channels)

    def follow(self) -> dict[str, int]:
        channels = [channel for name in ("dev", "staging", "prod") if (channel := find_channel(self.house.storage, name))]
        return follow_channels(self.settings, channels)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Registry:
    house = House(tmp_path_factory.mktemp("registered"))
    copy_database(empty_database, house.root / "home")
    digest = asyncio.run(house.release(config()))
    settings = HarnessSettings(home=house.root / "home", releases=str(house.releases), _env_file=None)
    made = Registry(house, settings, digest)
    assert made.register(digest).new
    return made


@pytest.mark.slow
def test_a_registered_release_answers_questions_through_mlflow(registry: Registry) -> None:
    import mlflow

    mlflow.set_tracking_uri(registry.settings.tracking_uri)
    try:
        model = mlflow.pyfunc.load_model("models:/touchstone@challenger", model_config={"home": str(registry.settings.home)})
    finally:
        mlflow.set_tracking_uri("")
    answers = model.predict(pd.DataFrame({"question": [QUESTION, "What about receipts?"]}, index=[7, 9]))
    assert list(answers.index) == [7, 9]
    assert list(answers["answer"]) == [SAYS, SAYS]
    assert json.loads(answers["citations"][7]) == ["leave.md"]
    assert set(answers["release"]) == {registry.digest}
    assert [column.name for column in model.metadata.get_output_schema()] == list(answers.columns)
    assert model.metadata.get_input_schema().input_names() == ["question"]


@pytest.mark.slow
def test_a_model_is_its_bundle_with_the_code_and_the_locked_requirements_and_no_place_of_this_machine(registry: Registry) -> None:
    version = registry.client.get_model_version("touchstone", "1")
    [folder] = (registry.settings.home / "mlflow/artifacts/models").glob(f"{version.source.removeprefix('models:/')}/artifacts")
    bundle = folder / "artifacts" / "release" / registry.digest
    original = registry.house.releases / registry.digest
    files = sorted(path.relative_to(original) for path in original.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file())
    assert all((bundle / file).read_bytes() == (original / file).read_bytes() for file in files)
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle")]
    assert str(registry.house.root) not in (folder / "MLmodel").read_text()
    assert "model_code_path: release_model.py" in (folder / "MLmodel").read_text()
    assert (folder / "requirements.txt").read_text().split() == pinned_requirements(ROOT)
    assert {"lancedb", "mlflow", "pydantic"} <= {line.partition("==")[0] for line in pinned_requirements(ROOT)}
    assert not {"torch", "optuna", "boto3"} & {line.partition("==")[0] for line in pinned_requirements(ROOT)}
    # what is stored is enough where nothing of ours is installed: its own code is found before ours
    script = f"import sys; sys.path.insert(0, {str(folder / 'code')!r}); import serving.release.bundle as b; print(b.__file__)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd="/", check=True)
    assert said.stdout.startswith(str(folder))


@pytest.mark.slow
def test_a_release_and_a_prompts_text_are_registered_once(registry: Registry) -> None:
    again = registry.register(registry.digest)
    assert (again.version, again.new, again.aliases) == (1, False, ("challenger",))
    assert len(registry.client.search_model_versions("name = 'touchstone'")) == 1
    assert "touchstone.answer.general.v3/1" in again.prompts
    assert len(again.prompts) == len({name.partition("/")[0] for name in again.prompts}) == 7
    general = registry.client.get_prompt_version("touchstone.answer.general.v3", 1)
    assert general.template == load_release(registry.house.storage, registry.digest).prompts.source("answer/general/v3").decode()
    assert general.tags["touchstone.release"] == registry.digest

    evidence = prove(registry.house.storage, registry.digest, created_at="2026-11-02T00:00:00+00:00", git_commit="abc")
    registry.register(registry.digest)
    tags = registry.client.get_model_version("touchstone", "1").tags
    assert (tags["touchstone.release"], tags["touchstone.evidence"], tags["touchstone.git_commit"]) == (registry.digest, evidence, "abc")


@pytest.mark.slow
def test_a_changed_text_is_a_new_version_of_its_prompt(registry: Registry) -> None:
    other = asyncio.run(registry.house.release(config(**{"retrieve.top_k": 3}), channel=None))
    release = load_release(registry.house.storage, other)
    from dataclasses import replace

    from serving.pipeline.prompts import PromptLibrary

    files = {f"{ident}.md": release.prompts.source(ident) for ident in release.prompts.texts(release.config.answer.prompt)}
    changed = files | {"answer/general/v3.md": files["answer/general/v3.md"] + b"\nBe brief.\n"}
    done = register_release(replace(release, prompts=PromptLibrary.of_files(changed, "x")), registry.house.storage, registry.settings, [])
    assert "touchstone.answer.general.v3/2" in done.prompts
    assert "touchstone.answer.hr.v3/1" in done.prompts


@pytest.mark.slow
def test_the_aliases_follow_the_channels_back_and_forth(registry: Registry) -> None:
    client, storage = registry.client, registry.house.storage
    second = asyncio.run(registry.house.release(config(**{"retrieve.top_k": 2}), channel="dev"))
    number = registry.register(second).version
    assert int(client.get_model_version_by_alias("touchstone", "challenger").version) == number
    point(storage, "dev", registry.digest)
    registry.follow()
    assert int(client.get_model_version_by_alias("touchstone", "challenger").version) == 1


def test_the_champion_is_what_prod_serves_and_the_challenger_the_last_tried_elsewhere() -> None:
    def channel(name: str, stable: str, at: str, candidate: str = "", then: str = "") -> Channel:
        changes = [ChannelChange.model_validate({"at": at, "from": "", "to": stable, "evidence": "e", "who": "w", "why": ""})]
        if candidate:
            changes.append(
                ChannelChange.model_validate(
                    {
                        "at": then,
                        "from": stable,
                        "to": candidate,
                        "evidence": "e",
                        "who": "w",
                        "why": "",
                        "kind": "candidate",
                        "mode": "canary",
                        "weight": 0.1,
                    }
                )
            )
        from serving.release.channel import candidate_of

        history = tuple(changes)
        return Channel(name=name, stable=stable, evidence="e", candidate=candidate_of(history), revision=len(history), history=history)

    assert aliased([]) == {}
    assert aliased([channel("dev", "a", "1")]) == {"challenger": "a"}
    assert aliased([channel("dev", "a", "1"), channel("prod", "a", "2")]) == {"champion": "a"}
    assert aliased([channel("dev", "a", "1"), channel("staging", "b", "2"), channel("prod", "a", "3")]) == {
        "champion": "a",
        "challenger": "b",
    }
    tried = channel("prod", "a", "1", candidate="c", then="9")
    assert aliased([channel("dev", "b", "5"), tried]) == {"champion": "a", "challenger": "c"}


def test_a_server_that_is_down_blocks_nothing_and_the_way_to_make_up_for_it_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    channel = find_channel(house.storage, "dev")
    assert channel
    settings = HarnessSettings(home=house.root, releases=str(house.releases), MLFLOW_TRACKING_URI="http://127.0.0.1:9", _env_file=None)
    words = register_promoted(channel.stable, settings).words
    assert words.startswith("not registered: MLflow at http://127.0.0.1:9 failed")
    assert words.endswith(f"Make up for it: touchstone release register {channel.stable}")


def test_registering_is_switched_off_by_an_empty_name(house: House) -> None:
    settings = HarnessSettings(home=house.root, releases=str(house.releases), mlflow_model="", _env_file=None)
    assert register_promoted("x", settings).words == "nothing is registered: TOUCHSTONE_MLFLOW_MODEL is empty"
    with pytest.raises(ConfigError, match="Name the registered model there"):
        register("x", settings)


@pytest.mark.slow
def test_a_logged_run_is_found_by_its_id_and_by_its_name(registry: Registry) -> None:
    tracker = MlflowTracker(registry.settings)
    ids = []
    for name in ("mine", "twice", "twice", "it's"):
        with tracker.run(name) as run:
            run.text("config.yaml", "retrieve: {top_k: 3}\n")
            run.tags({"touchstone.config_digest": "d"})
            ids.append(run.id)
    for word in ("mine", ids[0]):
        found = find_run(word, registry.settings)
        assert (found.id, found.name, found.config, found.winner) == (ids[0], "mine", "retrieve: {top_k: 3}\n", "")
        assert found.tags["touchstone.config_digest"] == "d"
    assert find_run("it's", registry.settings).id == ids[3]
    with pytest.raises(ConfigError, match=r"2 runs in MLflow at sqlite.* are named 'twice': .*Write the id of one"):
        find_run("twice", registry.settings)
    for unknown in ("none", "0" * 32, "' or '1'='1"):
        with pytest.raises(ConfigError, match="no run in MLflow at .* is called so"):
            find_run(unknown, registry.settings)
