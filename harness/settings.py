"""The settings of the harness: its folders, MLflow, who acts; the only file of the harness that reads the environment."""

import getpass
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field, ValidationError

from serving.pipeline.digest import digest_text
from serving.pipeline.errors import ConfigError
from serving.pipeline.redact import without_password
from serving.pipeline.registry import explain, near
from serving.pipeline.settings import DYNAMODB, PipelineSettings
from serving.storage.place import is_remote

DEFAULT_CORPUS = "techcorp"  # where a project has several
DEFAULT_GOLDEN = "techcorp/v1"


class HarnessSettings(PipelineSettings):
    """Read from TOUCHSTONE_* variables and a `.env` file, after the pipeline's own."""

    datasets: Path = Field(default=Path("datasets"), description="the folder with corpora/ and golden/")
    reports: Path = Field(default=Path("reports"), description="where reports are written")
    champions: Path | None = Field(default=None, description="where champions are recorded; default <reports>/champions")
    looks: Path | None = Field(default=None, description="the file that every look at a holdout is written to; default below <home>")
    mlflow_uri: str = Field(
        default="",
        validation_alias=AliasChoices("TOUCHSTONE_MLFLOW_URI", "MLFLOW_TRACKING_URI"),
        description="MLflow tracking server; default sqlite below <home>",
    )
    mlflow_run_id: str = Field(default="", validation_alias="MLFLOW_RUN_ID", description="the run `mlflow run` has opened, set by it")
    mlflow_experiment: str = Field(
        default="touchstone",
        validation_alias=AliasChoices("TOUCHSTONE_MLFLOW_EXPERIMENT", "MLFLOW_EXPERIMENT_NAME"),
        description="MLflow experiment that runs go to",
    )
    mlflow_model: str = Field(
        default="touchstone",
        pattern=r"^[A-Za-z0-9_.-]*$",
        description="the registered model whose versions are releases; empty: none is registered",
    )
    mlflow_timeout_s: int = Field(default=10, ge=1, description="patience with one call to an MLflow server")
    stages: str = Field(default="", description="where stage outputs are kept: a folder or s3://bucket/prefix; default <home>/stages")
    ray_address: str = Field(
        default="",
        validation_alias="RAY_ADDRESS",
        description="the Ray cluster that sweeps and index builds run on; default: one on this machine",
    )
    github_step_summary: str = Field(
        default="", validation_alias="GITHUB_STEP_SUMMARY", description="a file that gates append their summary to, set by GitHub Actions"
    )
    assume_yes: bool = Field(default=False, description="go on with hosted models without asking, as --yes does; for mlflow run")
    releases: str = Field(default="releases", description="where releases and channels are kept: a folder or s3://bucket/prefix")
    traces: str = Field(default="", description="where: a file, or dynamodb:<table>; default <home>/traces.db")
    trace_days: float = Field(default=30.0, gt=0, description="after so many days a trace is removed, with what was said of it")
    dynamodb_endpoint: str = Field(default="", description="another DynamoDB endpoint")
    who: str = Field(
        default="",
        validation_alias=AliasChoices("TOUCHSTONE_WHO", "GITHUB_ACTOR"),
        description="who promotes, as channels and evidence name them; default: the account that runs the command",
    )

    @property
    def tracking_uri(self) -> str:
        """The MLflow address in use."""
        return self.mlflow_uri or f"sqlite:///{(self.home / 'mlflow' / 'mlflow.db').absolute()}"

    @property
    def shown_tracking_uri(self) -> str:
        """The MLflow address fit for a user's eyes: without its password."""
        return without_password(self.tracking_uri)

    @property
    def stage_folder(self) -> Path:
        """Where stage outputs are kept on this machine: all of them, or a copy of those in the bucket."""
        if is_remote(self.stages):
            return self.home / "stages" / digest_text(self.stages.rstrip("/"))
        return Path(self.stages) if self.stages else self.home / "stages"

    @property
    def promoter(self) -> str:
        """Who promotes."""
        try:
            return self.who or getpass.getuser()
        except (KeyError, OSError):  # an account without a name, as containers have it
            return "unknown"

    @property
    def usual_corpus(self) -> str:
        """The corpus that is meant where none is named: the project's only one, else `techcorp`; "" where that is not there either."""
        return _usual(self.datasets / "corpora", DEFAULT_CORPUS)

    @property
    def usual_golden(self) -> str:
        """The golden set that is meant where none is named, likewise."""
        return _usual(self.datasets / "golden", DEFAULT_GOLDEN)

    @property
    def champion_folder(self) -> Path:
        """Where champions are recorded."""
        return self.champions or self.reports / "champions"

    @property
    def trace_place(self) -> str:
        """Where a server on this machine, or one of the same settings, keeps traces."""
        return self.traces or str(self.home / "traces.db")

    @property
    def holdout_ledger(self) -> Path:
        """The file in which every look at a holdout is written down."""
        return self.looks or self.home / "holdout-looks.jsonl"


def _usual(root: Path, default: str) -> str:
    """The name of the one folder that is there, else the default; "" where there are several and not that one."""
    names = [path.name for path in root.glob("[!.]*") if path.is_dir()]
    if len(names) > 1 and default.partition("/")[0] not in names:
        return ""
    return names[0] if len(names) == 1 else default


def ambiguous(kind: str, root: Path, how: str) -> ConfigError:
    """The error where none is named and several could be meant."""
    names = sorted(path.name for path in root.glob("[!.]*") if path.is_dir())
    return ConfigError(f"Which {kind}? There are several in {root}: {', '.join(names)}. Name one{how}.")


def read_settings(folder: Path | None = None, **changes: Any) -> HarnessSettings:
    """The settings as the command line has them when it is run in a folder (default: this one); `changes` come before the environment."""
    fields = HarnessSettings.model_fields
    for name in changes:
        if name not in fields:
            raise ConfigError(f"No setting {name!r}.{near(name, list(fields))} See them all: touchstone config settings")
    given = {_variable(name): value for name, value in changes.items()}
    try:
        found = HarnessSettings(**given) if folder is None else HarnessSettings(_env_file=folder / ".env", **given)
    except ValidationError as error:
        raise ConfigError(explain(error, "settings (TOUCHSTONE_*)", list(fields))) from None
    return found if folder is None else found.model_copy(update=_below(folder, found))


def _variable(name: str) -> str:
    """The name that pydantic takes a setting by."""
    alias = HarnessSettings.model_fields[name].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else str(alias or name)


def _below(folder: Path, settings: HarnessSettings) -> dict[str, Any]:
    """Every relative place below a folder."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    places: dict[str, Any] = {name: folder / value for name, value in values.items() if isinstance(value, Path)}
    for name in ("indexes", "documents", "stages", "releases", "audit"):
        if values[name] and not is_remote(values[name]) and not values[name].startswith("dynamodb:"):
            places[name] = str(folder / values[name])
    if values["traces"] and not values["traces"].startswith(DYNAMODB):
        places["traces"] = str(folder / values["traces"])
    return places


def no_project(looked: Path) -> str:
    """The advice where a project's folder is missing, for a command that runs outside of a project."""
    mend = "Go to a project's folder, make one with: touchstone init DIR, or name its datasets in TOUCHSTONE_DATASETS."
    return f"there is no folder {str(looked.absolute())!r}. {mend}"


def settings_overrides(settings: HarnessSettings) -> dict[str, Any]:
    """The settings that differ from those of the environment, as plain data for another process."""
    here, now = read_settings().model_dump(mode="json"), settings.model_dump(mode="json")
    return {name: value for name, value in now.items() if here[name] != value}
