"""llama.cpp with one GGUF file in memory."""

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import ConfigError
from serving.pipeline.packages import install_command

_loading = threading.Lock()  # two threads asking at once must not load twice


class GgufEngine:
    """llama.cpp with one file in memory; one question at a time, so that no answer depends on its neighbours."""

    def __init__(self, file: Path, *, context_tokens: int, threads: int) -> None:
        try:
            import xllamacpp
        except ImportError as error:
            raise ConfigError(f"Models from GGUF files need the package xllamacpp. Install it: {install_command('llamacpp')}") from error
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_ctx = context_tokens
        params.n_parallel = 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.cpuparams.poll = params.cpuparams_batch.poll = 0  # threads that spin while they wait starve whoever shares the cores
        params.verbosity = -1
        params.warmup = params.fit_params = params.ui = False
        params.offline = True
        params.api_keys = [secrets.token_hex(32)]  # it opens a port on the loopback that nobody is to use
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise ConfigError(
                f"{file} cannot be loaded as a GGUF model with {context_tokens} tokens of context. Is it whole, and is there memory for it?"
            ) from error
        self._one_at_a_time = threading.Lock()

    def complete(self, request: Mapping[str, Any], post: Callable[[Mapping[str, Any]], bool], left: threading.Event) -> None:
        """Hand every event of an answer to `post`, until it returns True; a question that was left while it waited is not begun."""
        with self._one_at_a_time:
            if left.is_set():
                return
            self._server.handle_chat_completions(json.dumps(request), lambda text: _posted(text, post))


def _posted(text: str, post: Callable[[Mapping[str, Any]], bool]) -> bool:
    event = json.loads(text)
    return any(post(one) for one in (event if isinstance(event, list) else [event]))


def engine_version() -> str:
    """The release of llama.cpp's binding that is installed; another may choose other words."""
    try:
        return version("xllamacpp")
    except PackageNotFoundError:
        return "none"


def load_engine(file: Path, context_tokens: int, threads: int) -> GgufEngine:
    """The engine of a file; one process holds each once."""
    with _loading:
        return _loaded(file, context_tokens, threads)


@lru_cache(maxsize=2)
def _loaded(file: Path, context_tokens: int, threads: int) -> GgufEngine:
    return GgufEngine(file, context_tokens=context_tokens, threads=threads)


@lru_cache(maxsize=16)
def file_digest(file: Path, changed_ns: int) -> str:
    """The SHA-256 of a file, computed once for each time it was changed."""
    return sha256_file(file)
