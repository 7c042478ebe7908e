"""MLflow's registries: each release is a version of one registered model, each prompt's text a version of that prompt.

The alias `champion` is what the channel `prod` points at. `challenger` is what was last put on another channel, or last tried beside a
stable release, as long as it is there and is not the champion.
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from harness.git_commit import ROOT
from harness.settings import HarnessSettings
from harness.tracking.requirements import pinned_requirements
from serving.pipeline.digest import digest_text
from serving.pipeline.plain_yaml import dump_plain, load_plain
from serving.release.bundle import Release
from serving.release.channel import NEEDS_APPROVAL, Channel
from serving.storage.base import Storage
from serving.storage.files import write_bytes
from serving.storage.lock import file_lock

CHAMPION, CHALLENGER = "champion", "challenger"
RELEASE_TAG = "touchstone.release"
TEXT_TAG = "touchstone.text_digest"
PLACES = ("home", "indexes")  # settings that whoever loads a model may give; "": as the environment says
MODEL_FILE = Path(__file__).with_name("release_model.py")
SERVING = ROOT / "serving"  # stored with the model, which then needs nothing of ours to be installed


@dataclass(frozen=True, slots=True)
class RegisteredRelease:
    """A release's version of the registered model."""

    model: str
    version: int
    aliases: tuple[str, ...]
    prompts: tuple[str, ...]  # name/version, as prompts:/… has them
    new: bool = True  # whether the version was made now

    @property
    def words(self) -> str:
        """Model, version and aliases: "touchstone version 3, challenger"."""
        return ", ".join([f"{self.model} version {self.version}", *self.aliases])


def register_release(release: Release, storage: Storage, settings: HarnessSettings, channels: Sequence[Channel]) -> RegisteredRelease:
    """Register a release and its prompts, where they are not yet, and set the aliases by what channels point at; safe to repeat."""
    from harness.tracking.mlflow import as_tracking_error, check_address, connected_client, experiment_id

    check_address(settings.tracking_uri)
    with as_tracking_error(settings.tracking_uri), _one_at_a_time(settings), _global_address(settings):
        client = connected_client(settings)
        prompts = _register_prompts(client, release, settings)
        _make_model(client, settings.mlflow_model)
        version = _versions(client, settings).get(release.digest)
        new = version is None
        if version is None:
            version = _create_version(client, release, storage, settings, experiment_id(client, settings))
        for name, value in _tags(release, prompts).items():
            client.set_model_version_tag(settings.mlflow_model, str(version), name, value)
        aliases = _set_aliases(client, settings, channels)
    return RegisteredRelease(
        settings.mlflow_model, version, tuple(alias for alias, of in aliases.items() if of == version), tuple(prompts), new
    )


def follow_channels(settings: HarnessSettings, channels: Sequence[Channel]) -> dict[str, int]:
    """Let the aliases follow channels that were moved; the version of each. Nothing where nothing was registered yet."""
    from harness.tracking.mlflow import as_tracking_error, check_address, connected_client

    check_address(settings.tracking_uri)
    path = settings.tracking_uri.removeprefix("sqlite:///")
    if path != settings.tracking_uri and not Path(path).exists():
        return {}
    with as_tracking_error(settings.tracking_uri), _one_at_a_time(settings), _global_address(settings):
        client = connected_client(settings)
        return _set_aliases(client, settings, channels) if _versions(client, settings) else {}


def aliased(channels: Sequence[Channel]) -> dict[str, str]:
    """The release of each alias, by the channels' documents alone."""
    champion = next((channel.stable for channel in channels if channel.name in NEEDS_APPROVAL), "")
    tried = []
    for channel in channels:
        for change in reversed(channel.history):
            if change.kind == "candidate" and channel.candidate and change.to == channel.candidate.release:
                tried.append((change.at, change.to))
                break
        if channel.stable and channel.name not in NEEDS_APPROVAL:
            tried.append((channel.moves[-1].at, channel.stable))
    others = [release for _, release in sorted(tried) if release != champion]
    return {name: release for name, release in ((CHAMPION, champion), (CHALLENGER, others[-1] if others else "")) if release}


def _set_aliases(client: Any, settings: HarnessSettings, channels: Sequence[Channel]) -> dict[str, int]:
    name, versions = settings.mlflow_model, _versions(client, settings)
    wanted = {alias: versions[release] for alias, release in aliased(channels).items() if release in versions}
    now = {alias: int(version) for alias, version in client.get_registered_model(name).aliases.items()}
    for alias in (CHAMPION, CHALLENGER):
        if alias in wanted and now.get(alias) != wanted[alias]:
            client.set_registered_model_alias(name, alias, str(wanted[alias]))
        elif alias in now and alias not in wanted:
            client.delete_registered_model_alias(name, alias)
    return wanted


def _versions(client: Any, settings: HarnessSettings) -> dict[str, int]:
    """The first version of each release."""
    found: dict[str, int] = {}
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name = '{settings.mlflow_model}'", page_token=token)
        for one in page:
            if digest := one.tags.get(RELEASE_TAG):
                found[digest] = min(int(one.version), found.get(digest, int(one.version)))
        token = page.token
        if not token:
            return found


def _make_model(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

    try:
        client.create_registered_model(name, description="Releases of Touchstone: a configuration with its prompts, proven by a gate.")
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise


def _create_version(client: Any, release: Release, storage: Storage, settings: HarnessSettings, experiment: str) -> int:
    """Save the bundle as a model and make it a version; the version comes last, so what is killed on the way is none."""
    evidence = release.evidence.get(release.newest_evidence)
    with tempfile.TemporaryDirectory() as folder:
        saved = _saved_model(release, storage, Path(folder))
        tags = {RELEASE_TAG: release.digest}
        model = client.create_logged_model(experiment, name=settings.mlflow_model, tags=tags)
        client.log_model_artifacts(model.model_id, str(saved))
        client.finalize_logged_model(model.model_id, "READY")
    run = evidence.mlflow_run if evidence else ""
    about = f"Release {release.digest}, by its bundle alone; the index that it was proven on is {release.index.recipe}."
    made = client.create_model_version(
        settings.mlflow_model, f"models:/{model.model_id}", tags=tags | ({"touchstone.run": run} if run else {}), description=about
    )
    number = int(made.version)
    first = _versions(client, settings)[release.digest]
    if first != number:  # another machine was faster
        client.delete_model_version(settings.mlflow_model, str(number))
    return first


def _saved_model(release: Release, storage: Storage, folder: Path) -> Path:
    """The model as MLflow saves it: this bundle, the code that it runs by, its signature and its requirements."""
    bundle, saved = folder / "release", folder / "model"
    for entry in storage.list(f"{release.digest}/"):
        if (blob := storage.get(entry.key)) is not None:
            write_bytes(bundle / entry.key, blob.data, sync=False)
    outputs = {"answer": "string", "citations": "string", "refused": "boolean", "confidence": "double", "usd": "double"}
    outputs |= {"trace_id": "string", "release": "string"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own type hints; and that no example was given, whose answer would need an index
        import mlflow.pyfunc
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, Schema

        mlflow.pyfunc.save_model(
            str(saved),
            python_model=str(MODEL_FILE),
            artifacts={"release": str(bundle)},
            code_paths=[str(SERVING)],
            pip_requirements=pinned_requirements(ROOT, _extras(release)),
            signature=ModelSignature(
                Schema([ColSpec("string", "question")]), Schema([ColSpec(kind, name) for name, kind in outputs.items()])
            ),
            model_config=dict.fromkeys(PLACES, ""),  # MLflow takes at loading what it knows of from here
            metadata={RELEASE_TAG: release.digest},
        )
    _forget_places(saved / "MLmodel")
    return saved


def _forget_places(file: Path) -> None:
    """Take out where the model was saved from: paths of this machine, which nothing reads."""
    about = load_plain(file.read_text(encoding="utf-8"))
    function = about["flavors"]["python_function"]
    function["model_code_path"] = Path(function["model_code_path"]).name
    for artefact in function["artifacts"].values():
        artefact["uri"] = artefact["path"]
    file.write_text(dump_plain(about), encoding="utf-8")


def _extras(release: Release) -> list[str]:
    """The extras that a configuration needs beside the pipeline."""
    named = [spec.name for spec in release.config.answer.models.values()] + [release.config.index.embedder.name]
    hosted = {name.partition(":")[0] for name in named if not name.startswith("local:")}
    return [
        extra for extra, wanted in (("bedrock", any("bedrock" in name for name in hosted)), ("llamacpp", "llamacpp" in hosted)) if wanted
    ]


def _tags(release: Release, prompts: Sequence[str]) -> dict[str, str]:
    """What a version is found by; the evidence is the newest."""
    evidence = release.evidence.get(release.newest_evidence)
    golden = {one.golden: one.golden_digest for one in evidence.measured} if evidence else {}
    decided = evidence.decision if evidence else None
    found = {
        RELEASE_TAG: release.digest,
        "touchstone.evidence": release.newest_evidence,
        "touchstone.golden_digest": ", ".join(f"{name} {digest}" for name, digest in golden.items()),
        "touchstone.git_commit": evidence.git_commit if evidence else "",
        "touchstone.gate": f"{decided.gate} {decided.state}" if decided else "forced" if evidence and evidence.forced else "",
        "touchstone.corpus_digest": release.index.corpus_digest,
        "touchstone.index": release.index.recipe,
        "touchstone.prompts": ", ".join(prompts),
    }
    return {name: value for name, value in found.items() if value}


def _register_prompts(client: Any, release: Release, settings: HarnessSettings) -> list[str]:
    """Register each prompt whose text is not there under its name; `name/version` of each."""
    found = []
    for ident in release.prompts.texts_of(release.config):
        text = release.prompts.source(ident).decode()
        name, digest = f"{settings.mlflow_model}.{ident.replace('/', '.')}", digest_text(text)
        version = _prompt_version(client, name, digest)
        if version is None:
            tags = {TEXT_TAG: digest, RELEASE_TAG: release.digest}
            version = client.register_prompt(name, text, commit_message=f"Release {release.digest}", tags=tags).version
        found.append(f"{name}/{version}")
    return found


def _prompt_version(client: Any, name: str, digest: str) -> int | None:
    """The version of a prompt that has this text."""
    from mlflow.exceptions import MlflowException

    if client.get_prompt(name) is None:
        return None
    for number in count(1):
        try:
            version = client.get_prompt_version(name, number)
        except MlflowException as error:
            if not _is_missing(error):
                raise
            return None
        if version.tags.get(TEXT_TAG) == digest:
            return number
    raise AssertionError("numbers do not end")


def _is_missing(error: Any) -> bool:
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

    return bool(error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST))


@contextmanager
def _one_at_a_time(settings: HarnessSettings) -> Iterator[None]:
    """Let one process of this machine register at a time; another machine is noticed when a version was made."""
    path = settings.home / "mlflow" / ".register.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path):
        yield


@contextmanager
def _global_address(settings: HarnessSettings) -> Iterator[None]:
    """Let the parts of MLflow that take no address use ours, and put back what was set before."""
    from harness.tracking.mlflow import quiet_environment

    quiet_environment(settings)
    import mlflow

    for name in ("mlflow.utils.requirements_utils", "mlflow.utils.environment", "mlflow.models"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    before, variable = _address_before(), os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(settings.tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before if before is not None else "")
        if variable is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        else:
            os.environ["MLFLOW_TRACKING_URI"] = variable


def _address_before() -> str | None:
    import mlflow

    is_set: bool = mlflow.is_tracking_uri_set()  # type: ignore[no-untyped-call]  # mlflow does not annotate it
    return mlflow.get_tracking_uri() if is_set else None
