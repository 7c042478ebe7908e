"""Personal data: allowed, flagged, masked or blocked, kind by kind."""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal, get_args

from pydantic import Field, field_validator

from serving.pipeline.checks.detection import Detection, masked
from serving.pipeline.checks.pii import CERTAINTY, EVERY_KIND, TEXT_LIMIT, PiiKind, find_pii, prepare
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.guard.chain import SEVERITY
from serving.pipeline.guard.excerpt import redacted_excerpt
from serving.pipeline.guard.placeholders import Placeholders
from serving.pipeline.guard.windows import find_in_thread
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.registry import near
from serving.pipeline.types import GuardAction

PiiAction = Literal["allow", "flag", "mask", "block"]
OVERLAP: Final = 2_500  # characters that two windows of a long text share, so that none of the data is cut in two
PLACEHOLDERS: Final[Mapping[str, str]] = {
    "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "IBAN_CODE": "IBAN", "CREDIT_CARD": "CARD", "IP_ADDRESS": "IP", "US_SSN": "SSN",
    "CRYPTO": "WALLET", "MAC_ADDRESS": "MAC", "URL_PASSWORD": "URL", "SECRET_KEY": "KEY",
}  # fmt: skip


class PiiCheck:
    """Finds personal data; the reason names kinds, never values.

    Values masked in a question become placeholders, which are restored for the caller. An answer may repeat what the question itself
        contains.
    """

    version: ClassVar[str] = "2"
    sides: ClassVar[tuple[Side, ...]] = ("input", "output")

    class Params(PlugInParams):
        """Which kinds count, and the action for each."""

        action: Literal["flag", "mask", "block"] = "mask"
        kinds: tuple[PiiKind, ...] | Mapping[PiiKind, PiiAction] = Field(
            default=EVERY_KIND, description="a list, all with `action`, or an action for each: {US_SSN: block, EMAIL_ADDRESS: mask}"
        )
        allow_passages: bool = Field(default=False, description="what stands in the passages may be said")
        domains: tuple[str, ...] = Field(default=(), description="only for questions that may look there; empty: always")

        @field_validator("kinds", mode="before")
        @classmethod
        def _known(cls, kinds: object) -> object:
            """One mistake in one line: of a union pydantic would tell what each of its parts says."""
            if not isinstance(kinds, Mapping | list | tuple) or not kinds:
                raise ValueError(f"a list of kinds, or an action for each, is needed. Known: {', '.join(EVERY_KIND)}")
            for kind in kinds:
                if kind not in EVERY_KIND:
                    raise ValueError(f"no kind {kind!r}.{near(str(kind), list(EVERY_KIND))} Known: {', '.join(EVERY_KIND)}")
                if isinstance(kinds, Mapping) and kinds[kind] not in get_args(PiiAction):
                    raise ValueError(f"{kind}: no action {kinds[kind]!r}. Known: {', '.join(get_args(PiiAction))}")
            return kinds

        @property
        def actions(self) -> dict[PiiKind, GuardAction]:
            """The action for each kind that is detected."""
            chosen = self.kinds if isinstance(self.kinds, Mapping) else dict.fromkeys(self.kinds, self.action)
            return {kind: GuardAction(action) for kind, action in chosen.items() if action != "allow"}

    def __init__(self, params: Params, parts: Parts) -> None:
        prepare()
        self._params = params
        self._kinds = tuple(params.actions)
        self._actions = dict[str, GuardAction](params.actions.items())
        self.domains = params.domains
        self.rewrites = GuardAction.MASK in self._actions.values()
        self.blocks = GuardAction.BLOCK in self._actions.values()

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """Whether the text has personal data, and the text without it; of a blocked text, that is what may be stored."""
        everywhere = await find_in_thread(text, lambda window: find_pii(window, self._kinds), TEXT_LIMIT, OVERLAP)
        allowed = self._allowed(context) if everywhere and context.side != "input" else ""
        detections = _one_kind_each([one for one in everywhere if not allowed or _letters_and_digits(one.value) not in allowed])
        if not detections:
            return CheckVerdict.allow(text, 0.0)
        found = {kind: self._actions[kind] for kind in dict.fromkeys(one.kind for one in detections)}
        action = max(found.values(), key=SEVERITY.index)
        rule = ", ".join(kind for kind in found if found[kind] is action)
        without = self._without(text, detections, context, withhold=action is GuardAction.BLOCK)
        score = max(one.score for one in detections)
        excerpt = redacted_excerpt(without, *_first_mark(without)) if without != text else ""
        return CheckVerdict(
            action, text if action is GuardAction.FLAG else without, score, rule, f"shows {', '.join(found)}", excerpt=excerpt
        )

    def _without(self, text: str, detections: Sequence[Detection], context: CheckContext, *, withhold: bool) -> str:
        """The text with masked kinds replaced; of a blocked text, with every detection replaced."""
        chosen = [one for one in detections if withhold or self._actions[one.kind] is GuardAction.MASK]
        if context.side != "input" or withhold:
            return masked(text, chosen)
        placeholders = Placeholders() if context.placeholders is None else context.placeholders
        placeholders.reserve([text, *(part for turn in context.query.history for part in turn.texts)])
        return masked(text, chosen, lambda one: placeholders.name(PLACEHOLDERS[one.kind], one.value))

    def _allowed(self, context: CheckContext) -> str:
        """The letters and digits of the texts whose personal data an answer may repeat."""
        passages = [hit.chunk.text for hit in context.passages] if self._params.allow_passages else []
        return _letters_and_digits(" ".join([context.query.text, *passages]))


def _one_kind_each(detections: Sequence[Detection]) -> list[Detection]:
    """The detections in their order, of those that share characters the one of the surest kind."""
    kept: list[Detection] = []
    for one in sorted(detections, key=lambda one: (CERTAINTY.index(one.kind), one.start - one.end)):
        place = bisect_left(kept, one.start, key=lambda other: other.start)
        if (place == 0 or kept[place - 1].end <= one.start) and (place == len(kept) or kept[place].start >= one.end):
            kept.insert(place, one)
    return kept


def _first_mark(text: str) -> tuple[int, int]:
    match = re.search(r"<[A-Z_0-9]{1,40}>", text)
    return match.span() if match else (0, 0)


def _letters_and_digits(text: str) -> str:
    """A number is the same with other spaces."""
    return re.sub(r"[\W_]+", "", text.casefold())
