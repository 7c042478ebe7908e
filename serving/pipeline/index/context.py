"""The text that is indexed for a chunk: its title or heading path and its own text."""

from typing import Literal, get_args

from serving.pipeline.errors import ConfigError
from serving.pipeline.types import Chunk

Context = Literal["none", "title", "heading"]


def indexed_text(chunk: Chunk, mode: Context) -> str:
    """The text that search reads: the chunk, below its document's title or its whole heading path."""
    if mode == "none":
        return chunk.text
    if mode == "title":
        path = [chunk.title]
    elif mode == "heading":
        path = [chunk.title, *(part for part in chunk.heading.split(" > ") if part != chunk.title)]
    else:
        raise ConfigError(f"No context {mode!r}. Known: {', '.join(get_args(Context))}.")
    line = " > ".join(part for part in path if part)
    return f"{line}\n{chunk.text}" if line else chunk.text
