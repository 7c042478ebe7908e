"""The hashing embedder: the same everywhere, never NaN, and near for texts that share words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.pipeline.errors import ConfigError
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.models.hashing import HashingEmbeddings
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

GOLDEN = [0.5113622, 0.0, 0.3196014, 0.1917608, -0.4154818, 0.6392028, -0.0958804, 0.0958804]  # 4 words, 3 pairs, 13 parts


def connect(**params: object) -> HashingEmbeddings:
    model = EMBEDDINGS.build(Spec(name="local:hashing", **params), settings=PipelineSettings()).connect()
    assert isinstance(model, HashingEmbeddings)
    return model


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=60), max_size=5), st.sampled_from([1, 2, 7, 256]))
def test_every_text_has_a_vector_of_unit_length(texts: list[str], dimensions: int):
    vectors = connect(dimensions=dimensions).vectors(texts)
    assert vectors.shape == (len(texts), dimensions)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("text", ["", " ", "?!", "\n\n"])
def test_a_text_without_words_has_a_fixed_direction(text: str):
    [vector] = connect(dimensions=4).vectors([text])
    assert vector.tolist() == [1, 0, 0, 0]


def test_the_numbers_are_the_same_on_every_machine():
    [vector] = connect(dimensions=8).vectors(["Annual leave: 25 days"])
    np.testing.assert_allclose(vector, GOLDEN, atol=1e-6)


def test_a_vector_does_not_depend_on_the_texts_beside_it():
    texts = ["", "one", "two words", "three words here"]
    together = connect().vectors(texts)
    alone = np.concatenate([connect().vectors([text]) for text in texts])
    assert together.tobytes() == alone.tobytes()


def test_texts_that_share_words_or_stems_lie_nearer():
    question, same, near, far = connect(dimensions=1024).vectors(
        ["refund period for invoices", "Refund period, for INVOICES!", "invoice refunds take a period of days", "parental leave policy"]
    )
    assert question @ same > 0.999
    assert question @ same > question @ near > question @ far + 0.1


def test_word_order_matters_a_little():
    first, second = connect().vectors(["supplier pays the customer", "customer pays the supplier"])
    assert 0.5 < first @ second < 0.99


def test_langchains_interface_gives_the_same_numbers_as_plain_floats():
    model = connect()
    rows = model.embed_documents(["a b", "c"])
    assert all(type(number) is float for row in rows for number in row)
    assert np.array(rows, np.float32).tobytes() == model.vectors(["a b", "c"]).tobytes()
    assert model.embed_query("a b") == rows[0]


def test_no_dimensions_are_refused():
    with pytest.raises(ConfigError, match="dimensions"):
        connect(dimensions=0)
