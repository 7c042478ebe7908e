"""Answers that recite the prompt: its instructions or its delimiters."""

from typing import ClassVar, Literal

from pydantic import Field

from serving.pipeline.checks.recitation import TEXT_LIMIT, PromptText, Recitation, fences_in
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.guard.windows import windows
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction

CERTAIN = 80  # letters in a row that give the score 1
OVERLAP = 400  # characters that two windows of a long answer share


class LeakCheck:
    """Looks for the prompts' instructions in an answer; the score is the longest run of letters in common, 80 of them being 1.

    What the question or the passages say may be said again; so may the sentence of refusal, which the prompt tells the model to say.
    Translations and paraphrases are not found.
    """

    version: ClassVar[str] = "1"
    sides: ClassVar[tuple[Side, ...]] = ("output",)
    rewrites = False

    class Params(PlugInParams):
        """From how long a run on it is a leak, and what is done about it."""

        action: Literal["flag", "block"] = "block"
        threshold: float = Field(default=0.5, ge=0.3, le=1.0, description="0.5: 40 letters in a row, about eight words")
        delimiters: bool = Field(default=True, description="fences of passages and variables of the prompt are a leak too")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self.blocks = params.action == "block"
        library = parts.prompts
        prompts = [library.get(name, version) for name in library.names() for version in library.versions(name)]
        self._refusals = tuple(dict.fromkeys(prompt.refusal for prompt in prompts if prompt.refusal))
        self._prompts = PromptText(text for prompt in prompts for text in (prompt.system, prompt.user))

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """Whether the answer says what only the prompt says."""
        if any(text.strip() == refusal for refusal in self._refusals):
            return CheckVerdict.allow(text, 0.0)
        return await run_in_thread(lambda: self._verdict(text, context))

    def _verdict(self, text: str, context: CheckContext) -> CheckVerdict:
        quotable = (context.query.text, *(hit.chunk.text for hit in context.passages), *self._refusals)
        runs = [self._prompts.longest(window, quotable) for _, window in windows(text, TEXT_LIMIT, OVERLAP)]
        longest = max(runs, key=lambda run: run.letters, default=Recitation(0, ""))
        score = min(1.0, longest.letters / CERTAIN)
        action = GuardAction(self._params.action)
        if score >= self._params.threshold:
            return CheckVerdict(action, text, score, "prompt_leak", f"{longest.letters} letters in a row are the prompt's")
        fences = [fence for fence in fences_in(text) if not any(fence in known for known in quotable)] if self._params.delimiters else []
        if fences:
            return CheckVerdict(action, text, 1.0, "prompt_delimiters", f"{len(fences)} delimiters of the prompt")
        return CheckVerdict.allow(text, score)
