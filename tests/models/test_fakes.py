"""The fakes are real chat models: usage, streaming, and failures where the script says so."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from serving.pipeline.errors import ConfigError, ModelError, ThrottledError
from serving.pipeline.models.connect import connect_chat
from serving.pipeline.models.prices import usage_of
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

SETTINGS = PipelineSettings(_env_file=None)
ASKED = [SystemMessage("Be brief."), HumanMessage("First question?"), AIMessage("No."), HumanMessage("Where is Paris?")]


def model(name: str, **params: object):
    return connect_chat(Spec(name=name, **params), SETTINGS).model


async def test_echo_says_the_end_of_the_last_human_message():
    assert (await model("local:echo").ainvoke(ASKED)).text == "Where is Paris?"
    assert (await model("local:echo", tail=6).ainvoke(ASKED)).text == "Paris?"
    assert model("local:echo").invoke([SystemMessage("Nobody asked.")]).text == ""


async def test_echo_says_a_fixed_text():
    assert (await model("local:echo", text="It is in [1].").ainvoke(ASKED)).text == "It is in [1]."


@pytest.mark.parametrize("text", ["In France [1].", " two  spaces\nand a line \n", "word", "\n"])
async def test_streams_in_pieces_make_the_same_answer_with_the_same_usage(text: str):
    echo = model("local:echo", text=text)
    whole = await echo.ainvoke(ASKED)
    chunks = [chunk async for chunk in echo.astream(ASKED)]
    blocking = list(echo.stream(ASKED))
    assert "".join(chunk.text for chunk in chunks) == "".join(chunk.text for chunk in blocking) == whole.text == text
    assert sum(chunks[1:], chunks[0]).usage_metadata == whole.usage_metadata
    assert sum(blocking[1:], blocking[0]).usage_metadata == whole.usage_metadata


async def test_usage_counts_words_and_its_money_is_marked_as_simulated():
    connected = connect_chat(Spec(name="local:echo", text="In France."), SETTINGS)
    usage = usage_of(await connected.model.ainvoke(ASKED), connected.source, connected.name)
    assert (usage.input_tokens, usage.output_tokens, usage.simulated, usage.priced) == (8, 2, True, True)
    assert usage.usd == pytest.approx(8 * 0.06e-6 + 2 * 0.24e-6)


async def test_a_script_is_played_in_order_and_then_again():
    scripted = model("local:scripted", answers=("One.", "Two."))
    assert [(await scripted.ainvoke(ASKED)).text for _ in range(3)] == ["One.", "Two.", "One."]


async def test_a_script_that_may_not_repeat_says_that_it_is_over():
    scripted = model("local:scripted", answers=("One.",), after="fail")
    await scripted.ainvoke(ASKED)
    with pytest.raises(ModelError, match="called 2 times, and its script has 1 answers"):
        await scripted.ainvoke(ASKED)


async def test_a_copy_of_a_scripted_model_goes_on_where_the_first_was():
    scripted = model("local:scripted", answers=("One.", "Two."))
    await scripted.ainvoke(ASKED)
    assert (await scripted.model_copy().ainvoke(ASKED)).text == "Two."


@pytest.mark.parametrize(("fault", "error"), [("throttled", ThrottledError), ("failed", ModelError), ("crashed", RuntimeError)])
async def test_a_fault_in_a_script_is_raised_after_what_was_said(fault: str, error: type[Exception]):
    scripted = model("local:scripted", answers=({"error": fault, "text": "In Fr"}, "In France."))
    heard: list[str] = []

    async def listen() -> None:
        async for chunk in scripted.astream(ASKED):
            heard.append(chunk.text)  # noqa: PERF401  # one by one: what came before a failure is kept

    with pytest.raises(error, match="answer 1"):
        await listen()
    assert "".join(heard) == "In Fr"
    assert (await scripted.ainvoke(ASKED)).text == "In France."
    with pytest.raises(error, match="answer 3"):
        await scripted.ainvoke(ASKED)


@pytest.mark.parametrize("answers", [(), ({"error": "sulks"},), (3,)])
def test_a_script_of_something_else_is_a_config_error(answers: object):
    with pytest.raises(ConfigError, match="answers"):
        model("local:scripted", answers=answers)
