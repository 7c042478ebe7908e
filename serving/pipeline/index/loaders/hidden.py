"""Finds hidden text of a file, in which instructions to a model may be planted; it is not loaded."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_INVISIBLE: Final = re.compile(
    "[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
    "|(?<=[!-~])[\u200c\u200d](?=[!-~])"  # joiners mean something between the letters of some scripts and between emojis
)
_COMMENT_LINE: Final = re.compile(r"^ {0,3}\[(?://|comment|_metadata_)\]: ?(?:#|<>|<#>)[^\n]*\n?", re.MULTILINE | re.IGNORECASE)
_FENCE_OR_COMMENT: Final = re.compile(r"^ {0,3}(?P<fence>`{3,}|~{3,})|<!--", re.MULTILINE)
_RULE: Final = re.compile(r"([^{}]{1,400})\{([^{}]{0,4000})\}")
_SIMPLE: Final = re.compile(r"\A(?:[a-z][a-z0-9]{0,15})?([.#][\w-]{1,80})\Z", re.IGNORECASE)
_LENGTH: Final = re.compile(r"\A(-?\d{0,6}(?:\.\d{0,6})?)(px|em|rem|pt|vw|vh|%)?\Z")
_AWAY: Final = ("left", "top", "right", "bottom", "text-indent", "margin-left", "margin-top")
_FAR: Final = {"px": 500.0, "pt": 400.0, "em": 40.0, "rem": 40.0, "vw": 99.0, "vh": 99.0, "%": 100.0}
_SMALL: Final = {"px": 2.0, "pt": 1.5, "em": 0.1, "rem": 0.1, "%": 10.0}
WHITE: Final = frozenset(["white", "#fff", "#ffffff", "#ffff", "#ffffffff", "rgb(255,255,255)", "rgba(255,255,255,1)"])
_ANCESTORS: Final = 8  # elements above one that may give it its background


def without_invisible(text: str) -> str:
    """The text without characters of no width, controls of direction, and tags."""
    return text if text.isascii() else _INVISIBLE.sub("", text)


def without_comments(markdown: str) -> str:
    """Markdown without its comments; those in blocks and spans of code are shown, so they stay."""
    parts: list[str] = []
    position = start = 0
    fence = ""
    while match := _FENCE_OR_COMMENT.search(markdown, position):
        mark = match["fence"] or ""
        position = match.end()
        if mark and not fence:
            fence = mark
        elif mark and mark[0] == fence[0] and len(mark) >= len(fence):
            fence = ""
        elif not mark and not fence and not markdown.endswith("`", 0, match.start()):
            end = markdown.find("-->", match.end())
            if end < 0:
                break
            parts.append(markdown[start : match.start()])
            start = position = end + len("-->")
    return _COMMENT_LINE.sub("", "".join([*parts, markdown[start:]]))


class HiddenElements:
    """Tells the elements of a page that its own styles hide; sheets elsewhere and scripts are not known."""

    def __init__(self, sheets: Iterator[str]) -> None:
        self._rules: dict[str, dict[str, str]] = {}
        for sheet in sheets:
            for selectors, body in _RULE.findall(sheet[:200_000]):
                for selector in selectors.split(","):
                    if simple := _SIMPLE.match(selector.strip()):
                        self._rules.setdefault(simple[1], {}).update(_declarations(body))

    def hides(self, node: Any) -> bool:
        """Whether a reader sees nothing of an element."""
        attributes = node.attributes
        if "hidden" in attributes or attributes.get("aria-hidden") == "true":
            return True
        style = self._style(attributes)
        return bool(style) and (_unseen(style) or self._like_its_background(node, style))

    def _style(self, attributes: Mapping[str, str | None]) -> dict[str, str]:
        names = [f".{name}" for name in (attributes.get("class") or "").split()[:20]]
        style: dict[str, str] = {}
        for name in [*names, f"#{attributes.get('id') or ''}"]:
            style |= self._rules.get(name, {})
        for name, key in (("color", "color"), ("bgcolor", "background-color")):
            if attributes.get(name):
                style[key] = _squeezed(attributes[name] or "")
        return style | _declarations(attributes.get("style") or "")

    def _like_its_background(self, node: Any, style: Mapping[str, str]) -> bool:
        """Whether its letters have the colour behind them: one that is given, or white where nothing may give another."""
        color = style.get("color", "")
        if not color:
            return False
        for _ in range(_ANCESTORS):
            behind = _background(self._style(node.attributes))
            if behind:
                return behind == color or (behind in WHITE and color in WHITE)
            if color in WHITE and (node.attributes.get("class") or node.attributes.get("id")):
                return False  # a sheet that is not here may paint it
            node = node.parent
            if node is None or node.tag == "html":
                break
        return color in WHITE


def _unseen(style: Mapping[str, str]) -> bool:
    if style.get("display") == "none" or style.get("visibility") in ("hidden", "collapse"):
        return True
    if (opacity := style.get("opacity", "")) and _number(opacity, 0.05):
        return True
    if (size := style.get("font-size", "")) and _below(size, _SMALL):
        return True
    clipped = style.get("overflow", "") in ("hidden", "clip")
    if clipped and any(_below(style[name], _SMALL) for name in ("width", "height", "max-height", "max-width") if name in style):
        return True
    if any(_below(style[name], _FAR, away=True) for name in _AWAY if name in style):
        return True
    clip = style.get("clip", "") + style.get("clip-path", "")
    return clip in ("rect(0,0,0,0)", "rect(0000)", "rect(1px,1px,1px,1px)", "rect(0px,0px,0px,0px)", "inset(50%)", "inset(100%)")


def _below(value: str, limits: Mapping[str, float], *, away: bool = False) -> bool:
    """Whether a length is no more than its unit's limit; `away`: whether it leads at least that far off the page."""
    match = _LENGTH.match(value)
    if match is None or match[1] in ("", "-", ".", "-."):
        return False
    number, limit = float(match[1]), limits.get(match[2] or "px", 0.0)
    return number <= -limit if away else 0 <= number <= limit


def _number(value: str, most: float) -> bool:
    match = _LENGTH.match(value)
    return match is not None and match[1] not in ("", "-", ".", "-.") and float(match[1]) / (100 if match[2] == "%" else 1) <= most


def _declarations(text: str) -> dict[str, str]:
    pairs = (part.partition(":") for part in text[:4000].split(";"))
    return {name.strip().casefold(): _squeezed(value) for name, _, value in pairs if value.strip()}


def _squeezed(value: str) -> str:
    return "".join(value.replace("!important", "").split()).casefold()


def _background(style: Mapping[str, str]) -> str:
    color = style.get("background-color") or style.get("background", "")
    return "" if color in ("transparent", "none", "inherit") else color
