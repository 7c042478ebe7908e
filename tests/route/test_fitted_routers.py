import asyncio
import json

import numpy as np
import pytest

from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.models.hashing import HashingEmbeddings
from serving.pipeline.registry import Spec
from serving.pipeline.route import ROUTERS
from serving.pipeline.route.gain import FittedGain, RoutedQuestion
from serving.pipeline.route.signals import NAMES, signals
from serving.pipeline.types import Query
from tests.support.growth import outgrown
from tests.support.parts import some_parts
from tests.support.routing import KINDS, TERMS, calibrated, fitted_gain, kept

WIDTH = 16
EMBEDDER = HashingEmbeddings(WIDTH)
WORDS = "Compare the price of both contracts"


def router(name, artefacts, embedder="local:hashing", **params):
    parts = some_parts(embeddings=EMBEDDER, embedder=embedder, artefacts=artefacts)
    return ROUTERS.build(Spec(name=name, **params), parts=parts)


def routed(name, text, artefacts, **params):
    return asyncio.run(router(name, artefacts, **params).route(Query(text), []))


def asked(text):
    return RoutedQuestion(text, EMBEDDER.vectors([text])[0], signals(text, []))


def by_words(text):
    """What the small model of words expects, worked out by its definition."""
    stems = [stem for stem in ("compar", "price", "contract", "laptop") if stem in text.lower()]
    amounts = np.array([TERMS[stem][0] for stem in stems])
    amounts /= np.linalg.norm(amounts)
    scores = np.array([0.1, 0.3]) + amounts @ np.array([TERMS[stem][1:] for stem in stems])
    chances = 1 / (1 + np.exp(-scores))
    return chances[1] - chances[0]


def test_the_gain_by_words_is_what_the_formulas_say():
    assert fitted_gain("tfidf", WIDTH).gain(asked(WORDS)) == pytest.approx(by_words(WORDS), abs=1e-4)


def test_the_gain_by_neighbours_is_the_mean_of_the_nearest_drawn_to_the_mean_of_all():
    model = fitted_gain("knn", WIDTH)
    vectors = np.array(model.model.gained.vectors, dtype=float)
    own = asked(WORDS)
    similarity = vectors @ own.vector / np.linalg.norm(vectors, axis=1)
    two = np.argsort(-similarity)[:2]
    outcomes = np.array([0.5, -0.1, 0.2, 0.0])
    assert model.gain(own) == pytest.approx((outcomes[two].sum() + outcomes.mean()) / 3, abs=1e-4)


def test_the_linear_gain_is_the_difference_of_two_chances():
    model, one = fitted_gain("logistic", WIDTH), asked(WORDS)
    values = [*one.vector, *(one.signals[name] for name in NAMES)]
    scores = np.array(model.model.right.weights) @ values + [0.2, 0.1]
    chances = 1 / (1 + np.exp(-scores))
    assert model.gain(one) == pytest.approx(chances[1] - chances[0], abs=1e-4)


def test_the_stacked_gain_is_the_weighted_sum_of_the_others():
    one = asked(WORDS)
    parts = [fitted_gain(kind, WIDTH).model.gain(one) for kind in KINDS if kind != "stacked"]
    assert fitted_gain("stacked", WIDTH).gain(one) == pytest.approx(0.01 + float(np.dot([0.5, 0.3, 0.2], parts)), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_question_without_a_vector_and_without_known_words_has_a_gain(kind):
    assert -1.0 <= fitted_gain(kind, WIDTH).gain(RoutedQuestion("", None, signals("", []))) <= 1.0


def test_the_dear_tier_answers_above_the_calibrated_threshold_or_above_the_one_that_is_set():
    gain = fitted_gain("tfidf", WIDTH).gain(asked(WORDS))
    artefacts, [below, above] = kept(*(calibrated("router", fitted_gain("tfidf", WIDTH), -gain + by) for by in (0.01, -0.01)))
    assert routed("tfidf", WORDS, artefacts, calibrated=below).tier == "pro"  # its threshold is .01 below the gain
    assert routed("tfidf", WORDS, artefacts, calibrated=above).tier == "lite"
    assert routed("tfidf", WORDS, artefacts, calibrated=above, threshold=gain).tier == "lite"  # the threshold itself is still lite
    assert routed("tfidf", WORDS, artefacts, calibrated=above, threshold=gain - 0.001).tier == "pro"


def test_the_reason_tells_the_gain_the_threshold_and_the_words():
    artefacts, [digest] = kept(calibrated("router", fitted_gain("tfidf", WIDTH), -0.05))
    said = routed("tfidf", WORDS, artefacts, calibrated=digest)
    assert said.reason == f"pro is expected to gain {said.score:+.3f} > 0.050: by the words compar +1.17, contract +0.99, price -0.14"


def test_a_fitted_model_without_a_threshold_needs_one():
    artefacts, [digest] = kept(fitted_gain("logistic", WIDTH).model_dump(mode="json"))
    assert routed("logistic", WORDS, artefacts, calibrated=digest, threshold=0.0).tier in ("lite", "pro")
    with pytest.raises(ConfigError, match=r"route\.router\.threshold: the artefact has no calibrated one\. Set it"):
        router("logistic", artefacts, calibrated=digest)


def test_more_tiers_have_a_step_each():
    low, high = (calibrated("router", fitted_gain("tfidf", WIDTH), -threshold) for threshold in (-1.0, 1.0))
    artefacts, [always, never] = kept(low, high)
    tiers = ["small", "middle", "large"]
    reached = {
        pair: routed("tfidf", WORDS, artefacts, calibrated=pair, tiers=tiers).tier
        for pair in ((always, always), (always, never), (never, always), (never, never))
    }
    assert list(reached.values()) == ["large", "middle", "small", "small"]
    assert routed("tfidf", WORDS, artefacts, calibrated=(never, never), tiers=tiers, threshold=(-1.0, -1.0)).tier == "large"
    with pytest.raises(ConfigError, match=r"1 artefacts for 3 tiers"):
        router("tfidf", artefacts, calibrated=always, tiers=tiers)
    with pytest.raises(ConfigError, match=r"route\.router\.threshold: 3 values for 3 tiers"):
        router("tfidf", artefacts, calibrated=(never, never), tiers=tiers, threshold=(0.0, 0.0, 0.0))
    config = RagConfig.parse(
        {
            "route": {"router": {"name": "tfidf", "calibrated": [always, never], "tiers": tiers}},
            "answer": {"models": {tier: {"name": "local:echo"} for tier in tiers}},
        }
    )
    assert config.artefacts() == {"route.router.calibrated.0": always, "route.router.calibrated.1": never}


def test_an_artefact_of_something_else_is_refused_in_words():
    artefacts, [words, guard] = kept(
        calibrated("router", fitted_gain("tfidf", WIDTH), -0.05), calibrated("guard", fitted_gain("tfidf", WIDTH), -0.05)
    )
    with pytest.raises(ConfigError, match="is of the router 'tfidf', not 'knn'"):
        router("knn", artefacts, calibrated=words)
    with pytest.raises(DataError, match="was calibrated for the guard, not for the router"):
        router("tfidf", artefacts, calibrated=guard)
    with pytest.raises(ConfigError, match=r"route\.router\.calibrated: 0 artefacts for 2 tiers; .*touchstone calibrate router"):
        router("tfidf", artefacts)
    with pytest.raises(ConfigError, match="fitted to vectors of 'local:minilm', and index.embedder.name is 'local:hashing'"):
        minilm, [digest] = kept(calibrated("router", fitted_gain("knn", WIDTH, "local:minilm"), 0.0))
        router("knn", minilm, calibrated=digest)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("logistic", lambda model: model["right"].update(weights=[[1.0], [1.0]])),
        ("logistic", lambda model: model.update(signals_version="0")),
        ("logistic", lambda model: model["right"]["weights"].pop()),
        ("tfidf", lambda model: model["right"]["terms"].update(word=[1.0])),
        ("tfidf", lambda model: model["right"]["terms"].update(word=[1.0, float("nan"), 0.0])),
        ("knn", lambda model: model["gained"].update(nearest=9)),
        ("knn", lambda model: model["gained"]["outcomes"].pop()),
        ("stacked", lambda model: model["weights"].pop()),
        ("stacked", lambda model: model.update(kind="pickle")),
    ],
)
def test_coefficients_that_do_not_fit_together_are_refused(kind, change):
    content = fitted_gain(kind, WIDTH).model_dump(mode="json")
    change(content["model"])
    data = json.dumps(content).encode()
    with pytest.raises(DataError, match="touchstone calibrate router"):
        router(kind, Given(data), calibrated="0" * 16, threshold=0.0)


class Given:
    """One artefact, whatever its digest."""

    place = "a test"

    def __init__(self, data):
        self._data = data

    def read(self, digest):
        return self._data


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tfidf"])
def test_vectors_of_another_length_are_refused_in_words(kind):
    artefacts, [digest] = kept(fitted_gain(kind, 8, "local:hashing").model_dump(mode="json"))
    with pytest.raises(ConfigError, match="fitted to vectors of 8 numbers, and index.embedder gives 16"):
        routed(kind, WORDS, artefacts, calibrated=digest, threshold=0.0)


def test_there_is_no_oracle_to_ship():
    assert "oracle" not in ROUTERS.names()
    with pytest.raises(ConfigError, match="oracle"):
        RagConfig.parse({"route": {"router": {"name": "oracle"}}})


def test_chance_takes_its_share_is_blind_to_spelling_and_another_seed_draws_others():
    questions = [f"Question {number}?" for number in range(2000)]

    def dear(seed, share=0.3):
        chosen = router("random", None, dear_share=share, seed=seed)

        async def all_routed():
            return {one for one in questions if (await chosen.route(Query(one), [])).tier == "pro"}

        return asyncio.run(all_routed())

    first = dear(0)
    assert 0.27 < len(first) / len(questions) < 0.33
    assert dear(0, 0.5) > first  # a larger share keeps those of a smaller one
    assert 0.05 < len(first & dear(1)) / len(questions) < 0.13  # about .3 × .3
    assert routed("random", " QUESTION  7? ", None, dear_share=0.3).score == routed("random", "Question 7?", None, dear_share=0.3).score
    assert dear(0, 0.0) == set()
    assert dear(0, 1.0) == set(questions)


def test_length_counts_the_characters_that_are_searched_for():
    assert routed("length", "  12345  ", None, characters=5).tier == "lite"
    assert routed("length", "123456", None, characters=5).tier == "pro"
    assert routed("length", "123456", None, characters=5).reason == "6 characters > 5"


def test_a_fitted_router_takes_no_longer_for_a_megabyte_than_for_a_page():
    artefacts, [digest] = kept(fitted_gain("tfidf", WIDTH).model_dump(mode="json"))
    page = "Compare the price, and which contract applies? " * 430  # as long as what is read
    chosen = router("tfidf", artefacts, calibrated=digest, threshold=0.0)

    assert not outgrown(lambda text: asyncio.run(chosen.route(Query(text), [])), lambda pages: page * pages, length=1, times=50)


def test_an_artefact_is_read_back_as_it_was_written():
    for kind in KINDS:
        model = fitted_gain(kind, WIDTH, "local:hashing")
        again = FittedGain.model_validate_json(json.dumps(model.model_dump(mode="json")))
        assert again == model
        assert again.gain(asked(WORDS)) == model.gain(asked(WORDS))
