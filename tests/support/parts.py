"""What plug-ins are built with, for tests: only what the test is about."""

from typing import Any

from serving.pipeline.parts import Parts
from serving.pipeline.settings import PipelineSettings


def some_parts(**given: Any) -> Parts:
    """Parts with the settings of no environment; whatever was not given says so when it is used."""
    return Parts(**{"settings": PipelineSettings(_env_file=None), **given})
