"""A release as a model of MLflow. This file is stored with the model, and runs where the model is loaded."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from serving.pipeline.artefacts import BundledArtefacts
from serving.pipeline.build import build_pipeline
from serving.pipeline.index.build import open_index
from serving.pipeline.models.threads import run_blocking
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Principal, Query, Trace
from serving.release.bundle import Release, load_release, releases
from serving.storage.folder import FolderStorage

AT_A_TIME = 4  # questions


class ReleaseModel(PythonModel):
    """Answers questions by a release's bundle, verified when it is loaded, over the index that it was proven on.

    The index is not in the bundle: it is looked for where the settings of the loading process say (`TOUCHSTONE_HOME`,
    `TOUCHSTONE_INDEXES`), or the `model_config` that is given to `load_model`, as `{"home": "…"}`.
    """

    def load_context(self, context: Any) -> None:
        """Verify the bundle."""
        storage = FolderStorage(Path(context.artifacts["release"]))
        [digest] = releases(storage)
        self._release: Release = load_release(storage, digest)
        self._settings = PipelineSettings(**{name: value for name, value in (context.model_config or {}).items() if value})

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """The answer to every `question`, asked for the public: documents of groups are not found."""
        traces = run_blocking(self._answers([str(question) for question in model_input["question"]]))
        return pd.DataFrame([_row(trace) for trace in traces], index=model_input.index, columns=list(COLUMNS))

    async def _answers(self, questions: list[str]) -> list[Trace]:
        pipeline = await self._pipeline()
        slots = asyncio.Semaphore(AT_A_TIME)

        async def answer(question: str) -> Trace:
            async with slots:
                return await pipeline.answer(Query(question, Principal(id="mlflow")))

        try:
            return list(await asyncio.gather(*map(answer, questions)))
        finally:
            await pipeline.aclose()

    async def _pipeline(self) -> RagPipeline:
        """The pipeline, for the event loop of one call."""
        release, settings = self._release, self._settings
        index = await open_index(release.config, release.index.corpus_digest, settings=settings)
        artefacts = BundledArtefacts(release.artefacts, release.place)
        return build_pipeline(release.config, index, release.prompts, settings, release_digest=release.digest, artefacts=artefacts)


COLUMNS = ("answer", "citations", "refused", "confidence", "usd", "trace_id", "release")


def _row(trace: Trace) -> tuple[Any, ...]:
    cited = json.dumps([one.chunk_id.partition("#")[0] for one in trace.answer.citations], ensure_ascii=False)
    confidence = float("nan") if trace.answer.confidence is None else trace.answer.confidence  # what a column of numbers has for none
    return trace.answer.text, cited, trace.answer.refused, confidence, trace.usd, trace.id, trace.release_digest


set_model(ReleaseModel())
