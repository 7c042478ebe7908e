"""Characters that a reader does not see as they are: stripped, flagged or blocked, class by class."""

import re
from collections.abc import Mapping
from typing import ClassVar, Final, Literal

from pydantic import Field

from serving.pipeline.checks.characters import CLASSES, CharacterClass, find_characters, shown
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.guard.chain import SEVERITY
from serving.pipeline.guard.excerpt import redacted_excerpt
from serving.pipeline.guard.windows import SHORT
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction

CharacterAction = Literal["allow", "flag", "mask", "block"]
_PLAIN: Final = re.compile(r"[\t\n\r -~\u00a0-\u00ac\u00ae-\u02ff]*\Z")  # Latin letters and signs: the common case


class EncodingCheck:
    """Looks for control and invisible characters, halves of surrogate pairs, and words of mixed alphabets.

    By its name it runs before the checks that read words, so that these read what a model would.
    """

    version: ClassVar[str] = "1"
    sides: ClassVar[tuple[Side, ...]] = ("input", "output")

    class Params(PlugInParams):
        """What is done about each class; `mask` strips a character, and writes a word of mixed alphabets in Latin letters."""

        surrogates: CharacterAction = Field(default="block", description="halves of a pair, which no text has")
        controls: CharacterAction = Field(default="mask", description="NUL and other control characters but tab and line breaks")
        invisible: CharacterAction = Field(default="mask", description="zero-width characters, tags, variation selectors without a sign")
        bidi: CharacterAction = Field(default="mask", description="characters that turn the direction of writing")
        scripts: CharacterAction = Field(default="mask", description="Latin words with look-alikes of Cyrillic or Greek letters")
        domains: tuple[str, ...] = Field(default=(), description="only for questions that may look there; empty: always")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._actions: Mapping[CharacterClass, GuardAction] = {
            name: GuardAction(getattr(params, name)) for name in CLASSES if getattr(params, name) != "allow"
        }
        self.domains = params.domains
        self.rewrites = GuardAction.MASK in self._actions.values()
        self.blocks = GuardAction.BLOCK in self._actions.values()

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """Whether the text is what it seems; what is kept of a blocked one can be written down."""
        if _PLAIN.match(text):
            return CheckVerdict.allow(text, 0.0)
        found = find_characters(text) if len(text) <= SHORT else await run_in_thread(lambda: find_characters(text))
        acting = {name: self._actions[name] for name in CLASSES if found.get(name) and name in self._actions}
        if not acting:
            return CheckVerdict.allow(text, 0.0)
        action = max(acting.values(), key=SEVERITY.index)
        stripped = tuple(name for name in acting if action is GuardAction.BLOCK or acting[name] is GuardAction.MASK)
        output = text if action is GuardAction.FLAG else shown(text, {name: found[name] for name in stripped})
        first = min(found[name][0] for name in acting)
        counts = ", ".join(f"{len(found[name])} {name}" for name in acting)
        rule = ", ".join(name for name in acting if acting[name] is action)
        return CheckVerdict(action, output, 1.0, rule, f"has {counts}", excerpt=redacted_excerpt(text, first, first + 1))
