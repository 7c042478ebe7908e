"""Boosted trees as plain numbers say what scikit-learn's say."""

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.ensemble import HistGradientBoostingClassifier

from harness.calibrate.cache_verifier import plain_trees
from serving.pipeline.fitted.trees import LEAF, BoostedTrees

# one tree: x <= 1 gives -2, else (y <= 0.5 gives 1, else 3)
HAND = {
    "features": ("x", "y"),
    "roots": (0,),
    "feature": (0, LEAF, 1, LEAF, LEAF),
    "threshold": (1.0, -2.0, 0.5, 1.0, 3.0),
    "left": (1, 1, 3, 3, 4),
    "base": 0.25,
}


@pytest.mark.parametrize(("row", "log_odds"), [((1.0, 9.0), -1.75), ((0.0, 0.0), -1.75), ((1.1, 0.5), 1.25), ((1.1, 0.6), 3.25)])
def test_a_tree_worked_out_by_hand(row, log_odds):
    trees = BoostedTrees.model_validate(HAND)
    assert trees.log_odds(np.array(row)) == pytest.approx(log_odds)
    assert trees.probability(np.array(row)) == pytest.approx(1 / (1 + np.exp(-log_odds)))
    assert trees.depth == 2


def test_they_say_what_the_fitted_model_says():
    generator = np.random.default_rng(7)
    rows = generator.normal(size=(600, 4)).round(3)
    labels = (rows[:, 0] + rows[:, 1] * rows[:, 2] > 0).astype(int)
    model = HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=9, random_state=0).fit(rows, labels)
    trees = plain_trees(model, ("a", "b", "c", "d"))
    fresh = generator.normal(size=(200, 4))
    assert [trees.probability(row) for row in fresh] == pytest.approx(model.predict_proba(fresh)[:, 1].tolist(), abs=1e-5)
    assert BoostedTrees.model_validate_json(trees.model_dump_json()) == trees


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"roots": (9,)}, "roots are numbers of nodes"),
        ({"left": (0, 1, 3, 3, 4)}, "leads backwards or nowhere"),
        ({"left": (4, 1, 3, 3, 4)}, "leads backwards or nowhere"),
        ({"feature": (2, LEAF, 1, LEAF, LEAF)}, "reads a feature that is not there"),
        ({"threshold": (1.0,)}, "an entry for every node"),
        ({"base": float("nan")}, "finite"),
        ({"features": ()}, "there are features"),
    ],
)
def test_numbers_that_are_no_trees_are_refused(change, said):
    with pytest.raises(ValidationError, match=said):
        BoostedTrees.model_validate(HAND | change)
