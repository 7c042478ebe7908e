"""A stand-in for hosted models beside the real service, on one stage store: neither is taken for the other."""

from collections import Counter
from typing import Any

import pytest
import yaml

from harness.judges import connect_judge
from harness.settings import HarnessSettings
from harness.stage_store.base import key_of
from harness.stage_store.chat import CachedChat, cached_chat
from harness.stage_store.endpoint import endpoints_of
from harness.stage_store.sqlite import SqliteStageStore
from serving.pipeline.models import CHAT_MODELS
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec
from tests.doubles.bedrock import CREDENTIALS, BedrockDouble, Call
from tests.support.world import CONFIG, REPOSITORY, World

NOVA, JUDGE = "bedrock_converse:amazon.nova-lite-v1:0", "llm:bedrock_converse:amazon.nova-pro-v1:0"
HOSTED = {
    "index": {"embedder": {"name": "bedrock:amazon.titan-embed-text-v2:0"}, "chunker": {"name": "sentence"}},
    "retrieve": {"top_k": 2, "reranker": {"name": "bedrock"}},
    "answer": {"models": {"lite": {"name": NOVA}, "pro": {"name": NOVA}}},
}
RERANKED = {**CONFIG, "retrieve": HOSTED["retrieve"]}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def said(call: Call) -> str | None:
    if call.operation != "converse":
        return None
    return '{"reason": "So it is.", "label": "supported"}' if "nova-pro" in call.model else "It is so [1]."


def asked(world: World, monkeypatch: pytest.MonkeyPatch, double: BedrockDouble, name: str) -> Counter[str]:
    """How often each operation was asked for by one evaluation."""
    before = len(double.calls)
    monkeypatch.setenv("TOUCHSTONE_BEDROCK_ENDPOINT", double.url)
    metrics = ("--metric", "quality", "--metric", "judge_groundedness", "--judge", JUDGE)
    done = world.touchstone("eval", "-c", "hosted.yaml", "-g", "tiny/v1", "--no-tracking", "--name", name, *metrics)
    assert done.code == 0, done.err
    return Counter(f"{call.operation} {call.model}" for call in double.calls[before:])


@pytest.mark.parametrize("config", [HOSTED, RERANKED], ids=["all hosted", "reranker hosted"])
@pytest.mark.slow
def test_what_a_stand_in_said_is_asked_of_the_real_one_again(world: World, monkeypatch: pytest.MonkeyPatch, config: Any) -> None:
    (world.root / "hosted.yaml").write_text(yaml.safe_dump(config))
    with BedrockDouble(said) as stand_in, BedrockDouble(said) as real:
        first = asked(world, monkeypatch, stand_in, "first")
        assert asked(world, monkeypatch, stand_in, "second") == {}
        other = asked(world, monkeypatch, real, "third")
        assert set(other) == set(first)
        chosen = {kind: count for kind, count in other.items() if not kind.startswith("invoke")}  # the index is there already
        assert chosen == {kind: count for kind, count in first.items() if not kind.startswith("invoke")}


def test_without_an_endpoint_of_its_own_every_key_is_what_it_was(world: World) -> None:
    plain = HarnessSettings(home=world.root)
    elsewhere, again = (plain.model_copy(update={"bedrock_endpoint": url}) for url in ("http://gateway", "http://gateway/"))
    assert [endpoints_of(name, plain) for name in (NOVA, "bedrock", "local:minilm")] == [(), (), ()]
    assert [endpoints_of(name, elsewhere) for name in ("bedrock:titan", "bedrock", "local:minilm", "openai:gpt-4o")] == [
        ("http://gateway",),
        ("http://gateway",),
        (),
        (),
    ]
    stages, prompts = SqliteStageStore(world.root / "kept"), PromptLibrary(REPOSITORY / "prompts", kind="judge")
    models = []
    for settings in (plain, elsewhere, again):
        chat = cached_chat(Spec(name=NOVA), settings, stages).model
        assert isinstance(chat, CachedChat)
        models.append((chat.model, connect_judge(JUDGE, settings, prompts).id))
    assert models[0][0] == f"{NOVA}|1|{key_of(CHAT_MODELS.complete(Spec(name=NOVA)).params)}"  # another would void what is kept
    assert models[1] == models[2]
    assert not set(models[0]) & set(models[1])
