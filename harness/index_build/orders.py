"""What a worker is told and what it answers, as plain text."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from harness.index_build.plan import CorpusKind, FileStamp
from harness.settings import HarnessSettings, read_settings, settings_overrides
from serving.pipeline import errors
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import TouchstoneError
from serving.pipeline.index.corpus_lines import LineRange
from serving.storage.place import absolute


class WorkerOrder(BaseModel):
    """An order; the settings are those that the worker's environment does not give by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: dict[str, Any]
    shares: int  # workers that share what a provider may be asked for in a minute


class LoadOrder(WorkerOrder):
    """Read a part of a corpus and keep its documents."""

    do: Literal["load"] = "load"
    corpus: str  # the key of the plan
    part: str
    kind: CorpusKind
    place: str
    rules: str  # their digest
    rule_files: tuple[str, ...] = ()
    files: tuple[FileStamp, ...] = ()
    lines: LineRange | None = None


class RowsOrder(WorkerOrder):
    """Chunk, embed and store the documents of a part."""

    do: Literal["rows"] = "rows"
    corpus: str
    source: str  # the part whose documents they are
    part: str
    recipe: str
    corpus_digest: str
    plan: str
    config: dict[str, Any]
    table: str  # the place of the store
    dimensions: int


_ORDERS: TypeAdapter[LoadOrder | RowsOrder] = TypeAdapter(LoadOrder | RowsOrder)


def read_order(text: str) -> LoadOrder | RowsOrder:
    """An order from its text."""
    return _ORDERS.validate_json(text)


def order_settings(settings: HarnessSettings) -> dict[str, Any]:
    """The settings that a worker receives: those that differ from the environment, and where the index lies."""
    return {**settings_overrides(settings), "indexes": absolute(settings.index_root)}


def worker_settings(order: WorkerOrder) -> HarnessSettings:
    """The settings of a worker: it has one core, and its share of what a provider may be asked for."""
    settings = read_settings(**order.settings)
    return settings.model_copy(update={"threads": settings.threads or 1, "limit_shares": settings.limit_shares * order.shares})


def config_of(order: RowsOrder) -> RagConfig:
    """The configuration of an order."""
    return RagConfig.parse(order.config)


def failure_reply(error: TouchstoneError) -> str:
    """A failure in words: not every exception survives the way between processes."""
    return json.dumps({"error": type(error).__name__, "message": str(error)})


def check_reply(text: str) -> None:
    """Raise a worker's failure here as it was there; an empty reply is success."""
    if text:
        reply: dict[str, str] = json.loads(text)
        kind = {"RefusedFile": "DataError"}.get(reply["error"], reply["error"])
        raised: TouchstoneError = getattr(errors, kind, errors.InfrastructureError)(reply["message"])
        raise raised
