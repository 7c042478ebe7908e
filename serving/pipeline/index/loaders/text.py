"""Plain text files."""

from typing import ClassVar

from serving.pipeline.index.loaders.base import LoadedText, decoded, no_binary
from serving.pipeline.registry import Params as PlugInParams


class TextLoader:
    """The text as it stands."""

    version: ClassVar[str] = "2"

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def load(self, data: bytes, name: str) -> LoadedText:
        """The text of the file; a file that is not UTF-8 is read as Latin-1 and says so."""
        no_binary(data, name)
        text, facts = decoded(data)
        return LoadedText(text, facts=facts)
