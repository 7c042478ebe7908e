"""Whether the answer means what a reference means."""

import numpy as np

from harness.judges.tools import Tools
from harness.metrics.references import ReferenceMetric
from serving.pipeline.registry import Params as PlugInParams


class SemanticSimilarity(ReferenceMetric):
    """Cosine of the answer and the nearest reference (opposites count 0), by the embedding model.

    It hardly sees numbers and negations: a wrong figure in the right sentence scores high.
    """

    label = "semantic_similarity"

    def __init__(self, params: PlugInParams, tools: Tools) -> None:
        super().__init__(params)
        self._tools = tools
        self.version = f"{type(self).version} {tools.embedder_id}"  # type: ignore[misc]  # scores are kept under it

    def agreement(self, text: str, references: tuple[str, ...]) -> list[float]:
        """The cosine of each."""
        answer, *known = self._tools.vectors([text, *references]).astype(np.float64)
        return [float(np.clip(answer @ other, 0.0, 1.0)) for other in known]
