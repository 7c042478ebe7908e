"""A decision as Markdown for a pull request or a job; texts of cases and rules are shown literally."""

import re
import unicodedata

from harness.gate.decision import CaseChanges, Decision, Ruling

TITLES = {
    "pass": "✅ Gate {} passed",
    "fail": "❌ Gate {} failed",
    "infrastructure": "⚠️ Gate {} could not decide: the machinery failed, nothing was judged",
}
SIGNS = {"pass": "✅ pass", "pass (advisory)": "✅ pass (advisory)", "fail": "❌ **fail**", "fail (advisory)": "🔸 fail (advisory)"}
MAX_CHARACTERS = 160
_LITERAL = re.compile(r"[\w \-,;.()?+%/='\"…−–—]")  # needs no escape; the underscore is taken out below


def summary(decision: Decision) -> str:
    """The whole comment."""
    lines = [
        f"## {TITLES[decision.state].format(markdown_literal(decision.gate))}",
        "",
        f"**Verdict** {markdown_literal(decision.message, 400)}",
        "",
    ]
    lines += ["| rule | of | mean | judged | needed | cases | outcome |", "|---|---|---:|---:|---:|---:|---|"]
    lines += [_row(ruling) for ruling in decision.rulings]
    lines += _reasons(decision) + _slices(decision) + _changes(decision.changes) + _about(decision)
    return "\n".join(lines) + "\n"


def markdown_literal(text: str, most: int = MAX_CHARACTERS) -> str:
    """A text that Markdown shows letter by letter: no markup, no HTML, no table cell, no link, no mention of anybody."""
    one_line = "".join(" " if character.isspace() else character for character in text)
    visible = "".join(character for character in one_line if unicodedata.category(character)[0] != "C")  # no control or bidi marks
    short = visible if len(visible) <= most else visible[: most - 1] + "…"
    return "".join(_escaped(character) for character in short).replace("www", "w&#8203;ww")


def _escaped(character: str) -> str:
    if character == "_" or not _LITERAL.match(character):
        # an entity is no markup; a zero-width space behind @ and # keeps them from becoming mentions
        return f"&#{ord(character)};" + ("&#8203;" if character in "@#" else "")
    return character


def _row(ruling: Ruling) -> str:
    cells = [
        ruling.id,
        ruling.subject,
        mean_text(ruling),
        value_text(ruling),
        threshold_text(ruling),
        f"{ruling.count}/{ruling.of}" if ruling.of else "–",
    ]
    return f"| {' | '.join(markdown_literal(cell) for cell in cells)} | {SIGNS.get(ruling.outcome_text, ruling.outcome_text)} |"


def mean_text(ruling: Ruling) -> str:
    """The mean of the metric."""
    return "–" if ruling.mean is None else f"{ruling.mean:.4g}" if abs(ruling.mean) >= 10 else f"{ruling.mean:.3f}"


def value_text(ruling: Ruling) -> str:
    """What was judged, with its interval."""
    if ruling.value is None:
        return "–"
    if ruling.rule in ("errors", "leak"):
        return f"{ruling.value:.0f}"
    value = (
        f"{ruling.value:+.3f}" if ruling.rule == "non_inferior" else f"{ruling.value:.4g}" if ruling.low is None else f"{ruling.value:.3f}"
    )
    return value if ruling.low is None or ruling.high is None else f"{value} ({ruling.low:.3f} … {ruling.high:.3f})"


def threshold_text(ruling: Ruling) -> str:
    """The threshold of a ruling."""
    if ruling.margin is not None:
        return f"not below −{ruling.margin:g}"
    if ruling.threshold is None:
        return "–"
    prefix = {"low": "low end ", "high": "high end ", "mean": ""}.get(ruling.statistic, f"{ruling.statistic} " if ruling.statistic else "")
    return f"{prefix}{'at most' if ruling.rule in ('ceiling', 'errors', 'leak') else 'at least'} {ruling.threshold:g}"


def _reasons(decision: Decision) -> list[str]:
    """The reason of every ruling that is not a pass."""
    not_passed = [ruling for ruling in decision.rulings if ruling.outcome != "pass"]
    lines = [
        f"- **{markdown_literal(ruling.id)}** {markdown_literal(ruling.reason, 400)}"
        + (f" — {markdown_literal(ruling.why, 300)}" if ruling.why else "")
        for ruling in not_passed
    ]
    return ["", *lines] if lines else []


def _slices(decision: Decision) -> list[str]:
    lines: list[str] = []
    for ruling in decision.rulings:
        if ruling.parts:
            rows = [
                f"| {markdown_literal(part.name)} | {'–' if part.value is None else f'{part.value:.3f}'} | {part.count} | "
                f"{'too few' if part.outcome == 'unjudged' else part.outcome} |"
                for part in ruling.parts
            ]
            head = f"<details><summary>{markdown_literal(ruling.id)}: {markdown_literal(ruling.subject)}</summary>"
            lines += ["", head, "", "| slice | mean | cases | outcome |", "|---|---:|---:|---|", *rows, "", "</details>"]
    return lines


def _changes(changes: CaseChanges) -> list[str]:
    if not changes.metric:
        return []
    name = markdown_literal(changes.metric)
    if not changes.largest:
        return ["", f"Against the champion no case changed its {name}."]
    rows = [
        f"| {markdown_literal(change.case)} | {markdown_literal(change.question)} | {change.before:.3f} | {change.after:.3f} |"
        for change in changes.largest
    ]
    flips = flips_text(changes)
    head = f"<details><summary>Against the champion, {name}: {flips}; the largest changes</summary>"
    return ["", head, "", "| case | question | champion | now |", "|---|---|---:|---:|", *rows, "", "</details>"]


def flips_text(changes: CaseChanges) -> str:
    """How many cases flipped."""
    return f"{changes.lost} cases flipped to the worse, {changes.won} to the better"


def _about(decision: Decision) -> list[str]:
    money = " Dollars are simulated." if decision.simulated else ""
    champion = f", champion {decision.champion_digest}" if decision.champion_digest else ""
    facts = f"{decision.golden} {decision.split}, {decision.cases} cases, configuration {decision.config_digest}{champion}."
    lines = ["", f"On {markdown_literal(facts, 300)}{money}"]
    if decision.reproduce:
        command = " ".join(decision.reproduce.split())
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", command)), default=0))
        lines += ["", "Do it again:", "", f"{fence}sh", command, fence]
    return lines
