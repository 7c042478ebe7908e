"""Opens what the settings and a few words name: the corpus, the stage store, a workshop, what metrics need."""

from functools import partial
from pathlib import Path

from harness.judges import connect_judge
from harness.metrics.tools import EMBEDDER, Tools
from harness.settings import HarnessSettings
from harness.stages.base import Kept
from harness.stages.embed import kept_embeddings
from harness.stages.layered import LayeredStages
from harness.stages.objects import ObjectStages
from harness.stages.sqlite import SqliteStages
from harness.workshop import Building, Workshop
from serving.pipeline.errors import ConfigError
from serving.pipeline.index.corpus import Corpus, load_corpus
from serving.pipeline.index.place import is_remote
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec, near


def read_settings() -> HarnessSettings:
    """The settings, from the environment."""
    from pydantic import ValidationError

    from serving.pipeline.registry import explain

    try:
        return HarnessSettings()
    except ValidationError as error:
        raise ConfigError(explain(error, "settings (TOUCHSTONE_*)", list(HarnessSettings.model_fields))) from None


def open_corpus(name: str, places: HarnessSettings) -> Corpus:
    """A corpus by name or by path."""
    root = places.datasets / "corpora"
    for path in (root / name, Path(name)):
        if path.exists():
            return load_corpus(path)
    known = sorted(path.name for path in root.glob("*") if path.is_dir()) if root.is_dir() else []
    raise ConfigError(f"No corpus {name!r}.{near(name, known)} Known: {', '.join(known) or 'none'}; or give a folder's path.")


def open_stages(places: HarnessSettings, *, on: bool = True) -> SqliteStages | LayeredStages | None:
    """The stage store, if it is wanted; while answers are recorded there is none, since what is kept is not asked for."""
    return stage_store(places) if on and places.cassette_mode != "record" else None


def stage_store(places: HarnessSettings) -> SqliteStages | LayeredStages:
    """What is kept of earlier work: a file, or a bucket with a copy in front."""
    here = SqliteStages(places.stage_folder)
    return LayeredStages(here, ObjectStages(places.stages, places)) if is_remote(places.stages) else here


def open_workshop(
    corpus: Corpus, places: HarnessSettings, stages: Kept | None, building: Building | None = None, *, replay_only: bool = False
) -> Workshop:
    """A workshop over a corpus."""
    return Workshop(places, corpus, PromptLibrary(places.prompts), building, stages, replay_only)


def open_tools(judge: str, places: HarnessSettings, stages: Kept | None, *, replay_only: bool = False) -> Tools:
    """What metrics may ask for: MiniLM, its vectors kept, and a judge by its words (`local`, `llm:<provider>:<model>`)."""
    connect = partial(kept_embeddings, EMBEDDER, places, stages) if stages else None
    if not judge:
        return Tools(places, connect=connect)
    asked = connect_judge(judge, places, PromptLibrary(places.prompts, kind="judge"), stages, replay_only=replay_only)
    model = judge.removeprefix("llm:")
    return Tools(places, judge=asked, judge_model=Spec(name=model) if model != judge else None, connect=connect, replay_only=replay_only)
