from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.golden.diff import diff_sets
from harness.golden.load import load_golden
from harness.golden.sets import Card
from harness.golden.split import resplit, split_moves, write_split
from serving.pipeline.errors import ConfigError, DataError
from tests.golden.test_golden_check import a_case, a_set, plenty
from tests.support.world import World

IDS = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=40, unique=True)


@settings(max_examples=60, deadline=None)
@given(IDS, st.data())
def test_adding_cases_moves_none_to_the_other_split(ids: list[str], data: st.DataObject) -> None:
    few = data.draw(st.lists(st.sampled_from(ids), unique=True))
    whole, part = a_set(*(a_case(one) for one in ids)), a_set(*(a_case(one) for one in few))
    sides = {case.id: whole.split_of(case) for case in whole.cases}
    assert {case.id: part.split_of(case) for case in part.cases} == {one: sides[one] for one in few}


@settings(max_examples=60, deadline=None)
@given(IDS, st.floats(0.01, 0.98), st.floats(0.0, 1.0))
def test_a_larger_share_only_adds_to_the_holdout(ids: list[str], share: float, more: float) -> None:
    small = a_set(*(a_case(one) for one in ids), holdout_share=share)
    large = resplit(small, holdout_share=share + (0.99 - share) * more)
    assert split_moves(small, large).to_tune == ()


def test_a_salt_deals_anew_and_the_share_is_about_what_was_asked() -> None:
    golden = a_set(*(a_case(f"c{number}") for number in range(1000)))
    other = resplit(golden, salt="pepper", holdout_share=0.25)
    held = [case for case in other.cases if other.split_of(case) == "holdout"]
    assert 200 <= len(held) <= 300
    assert split_moves(golden, other).to_holdout
    assert split_moves(golden, other).to_tune


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the new split: holdout_share: .*less than 1.*1\.5"):
        resplit(plenty(), holdout_share=1.5)


def test_every_kind_of_difference_is_told() -> None:
    before = a_set(a_case("same"), a_case("gone"), a_case("old-name", "Who are you?"), a_case("edited", answers=["6 weeks"]))
    after = a_set(a_case("same"), a_case("new"), a_case("new-name", "Who are YOU"), a_case("edited", answers=["8 weeks"], domain="hr"))
    found = diff_sets(before, replace(after, card=Card(name="tiny", version=2, corpus="other")))
    assert ([case.id for case in found.added], [case.id for case in found.removed], found.same) == (["new"], ["gone"], 1)
    assert [(one.field, one.before, one.after) for one in found.card] == [("corpus", "tiny", "other")]
    renamed, edited = found.changed
    assert (renamed.id, renamed.was, [one.field for one in renamed.changes]) == ("new-name", "old-name", ["question"])
    assert [(one.field, one.before, one.after) for one in edited.changes] == [
        ("answers", ["6 weeks"], ["8 weeks"]),
        ("domain", "general", "hr"),
    ]


def test_a_set_does_not_differ_from_itself() -> None:
    found = diff_sets(plenty(), plenty())
    assert (found.added, found.removed, found.changed, found.moved, found.same) == ((), (), (), (), 40)


def test_a_case_that_changes_sides_is_a_leak_even_under_a_new_name() -> None:
    golden = plenty()
    tune = next(case for case in golden.cases if golden.split_of(case) == "tune")
    held = next(case for case in golden.cases if golden.split_of(case) == "holdout")
    others = [case for case in golden.cases if case not in (tune, held)]
    renamed = a_set(*others, held, tune.model_copy(update={"id": f"{tune.id}-b", "group": held.id}))
    assert diff_sets(a_set(*others, held, tune), renamed).to_holdout == (f"{tune.id}-b",)
    found = diff_sets(golden, resplit(golden, salt="pepper"))
    assert found.to_holdout == split_moves(golden, resplit(golden, salt="pepper")).to_holdout
    assert found.to_holdout
    assert found.to_tune


def test_a_new_split_is_a_new_version_and_the_old_one_stays(world: World) -> None:
    root = world.root / "datasets"
    folder = root / "golden/tiny/v1"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    said = world.touchstone("golden", "split", "tiny", "--salt", "pepper")
    assert said.code == 0, said.err
    assert "salt 'pepper'" in said.out
    assert not (root / "golden/tiny/v2").exists()
    said = world.touchstone("golden", "split", "tiny", "--salt", "pepper", "--holdout-share", "0.5", "--write", "--json")
    assert said.code == 0, said.err
    assert isinstance(said.json, dict)
    assert (said.json["golden"], said.json["from"], said.json["written"]) == ("tiny/v2", "tiny/v1", True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    golden = load_golden(root, "tiny")
    assert (golden.id, golden.card.salt, golden.card.holdout_share) == ("tiny/v2", "pepper", 0.5)
    assert "A tiny set." in (golden.folder / "CARD.md").read_text()
    assert (golden.folder / "cases.jsonl").read_bytes() == before["cases.jsonl"]
    said = world.touchstone("golden", "diff", "tiny/v1", "tiny/v2")
    assert said.code == 0
    assert said.out.startswith("LEAK:")
    assert 'card: salt: "touchstone" → "pepper"' in said.out
    told = world.touchstone("golden", "diff", "tiny/v1", "tiny/v2", "--json").json
    assert isinstance(told, dict)
    assert told["moved"]
    assert world.touchstone("golden", "check", "tiny/v2", "--embedder", "none").code == 0


def test_a_split_that_is_there_already_or_leaves_nothing_is_refused(world: World, tmp_path: Path) -> None:
    said = world.touchstone("golden", "split", "tiny", "--write")
    assert said.code == 2
    assert "tiny/v1 has this split already. Give another: --holdout-share or --salt." in said.err
    root = world.root / "datasets"
    golden = load_golden(root, "tiny")
    with pytest.raises(DataError, match="The holdout split would have no cases"):
        write_split(root, golden, resplit(golden, holdout_share=1e-9))
    assert not (root / "golden/tiny/v2").exists()
    assert world.touchstone("golden", "diff", "tiny", "tinny").code == 2
