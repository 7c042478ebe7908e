from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.pipeline.config import SECTION_VERSIONS, STAGES, RagConfig, load_config
from serving.pipeline.errors import ConfigError
from serving.pipeline.registry import Spec


def test_defaults_are_filled_in_before_hashing() -> None:
    short = RagConfig.parse({"index": {"chunker": {"name": "recursive"}}})
    long = RagConfig.parse(short.model_dump(mode="json"))
    assert "size" in short.index.chunker.params
    assert short.digest() == long.digest()


def test_the_order_of_keys_does_not_change_the_digest() -> None:
    one = RagConfig.parse({"retrieve": {"top_k": 4, "neighbours": 1}, "answer": {"max_tokens": 64}})
    other = RagConfig.parse({"answer": {"max_tokens": 64}, "retrieve": {"neighbours": 1, "top_k": 4}})
    assert one.digest() == other.digest()


def test_a_digest_covers_its_stage_and_those_before_only() -> None:
    config = RagConfig.parse({})
    changed = config.replace({"answer.max_tokens": 99})
    for stage in STAGES:
        same = config.digest(stage) == changed.digest(stage)
        assert same == (STAGES.index(stage) < STAGES.index("answer")), stage


def test_the_corpus_and_the_prompts_change_the_digest() -> None:
    config = RagConfig.parse({})
    assert config.digest(corpus="a") != config.digest(corpus="b")
    assert config.digest(prompts={"p": "x"}) != config.digest(prompts={"p": "y"})
    assert config.digest("retrieve", prompts={"p": "x"}) == config.digest("retrieve", prompts={"p": "y"})


def test_raising_the_version_of_a_plug_in_changes_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.pipeline.route.rules import RulesRouter

    config = RagConfig.parse({})
    before = config.digest("route"), config.digest("retrieve")
    monkeypatch.setattr(RulesRouter, "version", "not-the-old-one")
    assert config.digest("route") != before[0]
    assert config.digest("retrieve") == before[1]


def test_raising_the_version_of_a_rooms_own_code_changes_the_digest_from_its_stage_on(monkeypatch: pytest.MonkeyPatch) -> None:
    config = RagConfig.parse({})
    before = {stage: config.digest(stage) for stage in STAGES}
    monkeypatch.setitem(SECTION_VERSIONS, "route", "not-the-old-one")  # type: ignore[arg-type]
    assert [stage for stage in STAGES if config.digest(stage) != before[stage]] == ["route", "answer", "guard", "cache"]


def test_every_leaf_can_be_read_and_set_by_its_path() -> None:
    config = RagConfig.parse({})
    for path, value in config.flat().items():
        assert config.at(path) == value
        assert config.replace({path: value}) == config


def test_another_plug_in_starts_from_its_own_defaults() -> None:
    config = RagConfig.parse({"retrieve": {"fusion": {"name": "weighted", "weight": 0.3}}})
    changed = config.replace({"retrieve.fusion.name": "rrf"})
    assert changed.retrieve.fusion.name == "rrf"
    assert changed.retrieve.fusion.params == RagConfig.parse({"retrieve": {"fusion": {"name": "rrf"}}}).retrieve.fusion.params


def test_a_tier_of_ones_own_is_swept_routed_to_and_hashed_like_the_default_ones() -> None:
    nano = RagConfig.parse({}).replace({"answer.models.nano.name": "local:echo", "answer.models.nano.text": "."})
    assert list(nano.answer.models) == ["lite", "nano", "pro"]
    assert nano.at("answer.models.nano.text") == "."
    assert "answer.models.nano" in nano.plugins()
    routed = nano.replace({"route.router.complex": "nano"})
    assert list(routed.tiers()) == ["lite", "nano"]
    assert len({config.digest("answer") for config in (RagConfig.parse({}), nano, routed)}) == 3
    assert RagConfig.parse(routed.model_dump(mode="json")) == routed


def test_tiers_given_in_a_file_are_laid_over_the_default_ones_whatever_their_order() -> None:
    one, two = {"name": "local:echo"}, {"name": "local:echo", "text": "x"}
    first = RagConfig.parse({"answer": {"models": {"a": one, "b": two}}})
    second = RagConfig.parse({"answer": {"models": {"b": two, "a": one}}})
    assert list(first.answer.models) == ["a", "b", "lite", "pro"]
    assert first.digest() == second.digest()
    assert first.model_dump_json() == second.model_dump_json()
    assert deepcopy(first) == first


def test_a_tier_cannot_be_changed_in_place() -> None:
    with pytest.raises(TypeError):
        RagConfig.parse({}).answer.models["lite"] = Spec(name="local:echo")  # type: ignore[index]


def test_only_a_name_makes_a_new_tier() -> None:
    with pytest.raises(ConfigError, match=r"No config field 'answer\.models\.nano\.text'"):
        RagConfig.parse({}).replace({"answer.models.nano.text": "."})
    with pytest.raises(ConfigError, match=r"No config field 'answer\.prompts\.nano\.name'"):
        RagConfig.parse({}).replace({"answer.prompts.nano.name": "general"})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"retrieve": {"topk": 3}}, ["retrieve.topk", "Did you mean 'top_k'?"]),
        ({"retrive": {}}, ["retrive", "Did you mean 'retrieve'?"]),
        ({"retrieve": {"top_k": "many"}}, ["retrieve.top_k", "integer", "'many'"]),
        ({"retrieve": {"top_k": 0}}, ["retrieve.top_k", "greater than or equal to 1"]),
        ({"index": {"chunker": {"name": "recursiv"}}}, ["No chunker 'recursiv'", "Did you mean 'recursive'?", "sentence"]),
        ({"index": {"chunker": {"name": "recursive", "sise": 5}}}, ["recursive", "sise", "Did you mean 'size'?"]),
        ({"answer": {"models": {"lite": {"name": "local:nobody"}}}}, ["No chat model 'local:nobody'", "local:reader-lite"]),
        ({"answer": {"models": {"Nano!": {"name": "local:echo"}}}}, ["answer.models.Nano!", "should match pattern"]),
        ({"answer": {"models": {"nano": {}}}}, ["answer.models.nano.name", "required"]),
        (
            {"route": {"router": {"name": "always", "tier": "lit"}}},
            ["route.router.tier", "no tier 'lit'", "Did you mean 'lite'?", "lite, pro"],
        ),
        ({"guard": {"input": {"name": "pii"}}}, ["guard: input takes plug-ins under names of yours: {mine: {name: pii}}"]),
        ([1], ["a mapping of the sections"]),
    ],
)
def test_a_mistake_is_one_line_that_names_the_mend(data: object, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        RagConfig.parse(data, source="my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_an_unknown_path_names_the_near_one() -> None:
    with pytest.raises(ConfigError, match=r"retrieve\.topk.*Did you mean 'top_k'"):
        RagConfig.parse({}).replace({"retrieve.topk": 3})


def test_a_file_that_is_missing_or_not_yaml_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1\nb: 2")
    with pytest.raises(ConfigError, match=r"bad\.yaml:2: not YAML"):
        load_config(tmp_path / "bad.yaml")


@given(st.integers(1, 100), st.integers(0, 5), st.floats(0, 1))
def test_equal_values_give_equal_digests(top_k: int, neighbours: int, similarity: float) -> None:
    data = {"retrieve": {"top_k": top_k, "neighbours": neighbours, "duplicate_similarity": similarity}}
    assert RagConfig.parse(data).digest() == RagConfig.parse(data).digest()


def test_the_shipped_default_configuration_is_every_default() -> None:
    assert load_config(Path("experiments/configs/default.yaml")) == RagConfig.parse({})
