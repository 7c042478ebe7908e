"""Why a sweep ended as it did, in sentences."""

from collections.abc import Sequence

from harness.stats import Comparison
from harness.stats.text import difference_text, number_text, p_value_text, seen_text
from harness.sweep.finalist import Finalist, cheaper, combined_outcome, saves, usd_of


def reason_of(
    winner: Finalist,
    best: Finalist | None,
    incumbent: Finalist,
    challengers: Sequence[Finalist],
    metric: str,
    *,
    margin: float,
    cheaper_by: float,
    proposed: int,
) -> str:
    """Why this one: `best` has the highest mean of the challengers that are better, or else of all; `proposed` were compared with it."""
    name, against = incumbent.trial.name, winner.against
    if against is None:
        return _stays(best, incumbent, challengers, metric, margin, cheaper_by, proposed)
    among = f"corrected for {against.among} comparisons" if against.among > 1 else "the only comparison"
    if against.outcome == "better":
        text = f"Better than the {name} on the holdout: {_difference(against, metric)}, {p_value_text(against.p_value)}, {among}."
        if best is None or best is winner:
            return text
        higher = number_text(best.holdout.mean(metric))
        saved = _saving(winner, best, cheaper_by)
        return f"{text} {_sentence(best)} has a higher mean ({higher}); this one {saved}, and a loss of {margin:g} to it is ruled out."
    ruled_out = f"a loss of {margin:g} to the {name} is ruled out"
    return f"It {_saving(winner, incumbent, cheaper_by)}, and {ruled_out}: {_difference(against, metric)}, {among}."


def _stays(
    best: Finalist | None,
    incumbent: Finalist,
    challengers: Sequence[Finalist],
    metric: str,
    margin: float,
    cheaper_by: float,
    proposed: int,
) -> str:
    name = incumbent.trial.name
    if not proposed:
        return f"The {name} stays: no other trial kept to every constraint, so none was held against it."
    if best is None or best.against is None:
        return f"The {name} stays: no finalist answered every case of the holdout."
    outcome = combined_outcome(challengers)
    if outcome == "worse":
        return f"The {name} stays: every finalist is worse. The nearest is {best.trial.title}, {_difference(best.against, metric)}."
    if outcome == "equivalent":
        what = f"equivalent to it within {margin:g} or worse, and none both saves {cheaper_by:.0%} and keeps up with the best finalist"
        return f"The {name} stays: every finalist is {what}. The nearest is {best.trial.title}, {_difference(best.against, metric)}."
    open_ = [one for one in challengers if one.against and one.against.outcome == "undecided"]
    shown = best if best in open_ else open_[0]
    assert shown.against is not None
    text = f"Undecided, so the {name} stays. "
    if shown.against.gain > 0:
        text += f"{_sentence(shown)} is the one to look at, not shown to be better: {_difference(shown.against, metric)}."
    else:
        text += f"{_sentence(shown)} is not shown to be within {margin:g} of it: {_difference(shown.against, metric)}."
    saving = [one for one in challengers if one is not shown and one.against and one.against.outcome != "worse"]
    saving = [one for one in saving if saves(one, incumbent, cheaper_by)]
    if saving and (least := min(saving, key=usd_of)).against:
        ruled_out = f"a loss of {margin:g} to the {name} and to the best finalist is ruled out"
        text += f" {_sentence(least)} {_saving(least, incumbent, cheaper_by)}, which counts only where {ruled_out}: "
        text += f"{_difference(least.against, metric)}."
    return f"{text} {seen_text(shown.against)}."


def _saving(finalist: Finalist, other: Finalist, share: float) -> str:
    """How much less it costs, or how much faster it was measured to be."""
    if cheaper(finalist, other, share) or finalist.timing is None:
        mine, theirs = usd_of(finalist), usd_of(other)
        return f"costs {1 - mine / theirs:.0%} less (${mine:.6f} a query against ${theirs:.6f})"
    timing = finalist.timing
    return f"takes {timing.ratio:.2f} times as long [{timing.low:.2f}, {timing.high:.2f}], measured side by side on {timing.count} cases"


def _difference(against: Comparison, metric: str) -> str:
    return f"{metric} {difference_text(against)}"


def _sentence(finalist: Finalist) -> str:
    title = finalist.trial.title
    return title[:1].upper() + title[1:]
