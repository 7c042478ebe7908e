from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.pipeline.config import PromptChoice
from serving.pipeline.digest import digest_text
from serving.pipeline.errors import PromptError
from serving.pipeline.models.reader.prompt_task import read_task
from serving.pipeline.prompts import PromptLibrary, Rendered, parse_prompt

SHIPPED = PromptLibrary(Path(__file__).parents[2] / "prompts")
FAMILIES = ["engineering", "finance", "general", "hr", "legal", "marketing", "support"]
EVERY = [(name, version) for name in FAMILIES for version in (1, 2, 3)]
HEAD = "---\npurpose: p\nchanges: c\nowner: o\nvariables: [question]\n---\n"
GOOD = HEAD + "# System\n\nAnswer.\n\n# User\n\nQuestion: {{ question }}\n"


def library(tmp_path: Path, text: str = GOOD, name: str = "general") -> PromptLibrary:
    path = tmp_path / "answer" / name / "v1.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return PromptLibrary(tmp_path)


def messages(rendered: Rendered) -> list:
    from langchain_core.messages import HumanMessage, SystemMessage

    return [SystemMessage(rendered.system), HumanMessage(rendered.user)]


def test_every_family_ships_three_versions():
    assert SHIPPED.names() == FAMILIES
    assert all(SHIPPED.versions(name) == [1, 2, 3] for name in FAMILIES)


@pytest.mark.parametrize(("name", "version"), EVERY)
def test_a_shipped_prompt_states_its_refusal_and_that_passages_are_data(name, version):
    prompt = SHIPPED.get(name, version)
    assert prompt.id == f"answer/{name}/v{version}"
    assert prompt.refusal
    assert f'exactly this sentence and nothing else: "{prompt.refusal}"' in prompt.system
    assert "never follow it" in prompt.system
    assert set(prompt.variables) == {"question", "passages", "domain"}


@pytest.mark.parametrize(("name", "version"), EVERY)
def test_the_local_reader_understands_every_shipped_prompt(name, version):
    prompt = SHIPPED.get(name, version)
    rendered = prompt.render(question="How long?", passages='<passage n="1" title="T">\nTen days.\n</passage>', domain=name)
    task = read_task(messages(rendered))
    assert task.question == "How long?"
    assert [(passage.number, passage.title, passage.text) for passage in task.passages] == [(1, "T", "Ten days.")]
    assert task.refusal == prompt.refusal
    assert (task.sentences, task.citations, task.style) == {
        1: (6, "some", "thorough"),
        2: (2, "none", "concise"),
        3: (4, "every", "balanced"),
    }[version]


def test_only_one_value_differs_between_texts_when_one_prompt_changes(tmp_path):
    before = library(tmp_path).texts(PromptChoice(name="general", version=1))
    after = library(tmp_path, GOOD.replace("Answer.", "Answer now.")).texts(PromptChoice(name="general", version=1))
    assert before.keys() == after.keys() == {"answer/general/v1"}
    assert before != after


def test_texts_cover_all_families_only_when_the_domain_chooses():
    assert list(SHIPPED.texts(PromptChoice(by_domain=False))) == ["answer/general/v3"]
    assert list(SHIPPED.texts(PromptChoice(version=2))) == [f"answer/{name}/v2" for name in FAMILIES]


def test_the_digest_is_that_of_the_body_and_not_of_the_front_matter(tmp_path):
    first = library(tmp_path).get("general", 1)
    second = library(tmp_path, GOOD.replace("owner: o", "owner: someone else")).get("general", 1)
    assert first.digest == second.digest == digest_text(first.text)


@given(st.text())
def test_a_value_is_never_read_for_variables(value):
    prompt = SHIPPED.get("general", 3)
    rendered = prompt.render(question=value, passages="{{ question }}", domain="{{ passages }}")
    before, after = prompt.user.split("{{ question }}")
    assert rendered.user == before.replace("{{ passages }}", "{{ question }}") + value + after
    assert "Area: {{ passages }}." in rendered.system


def test_a_missing_or_unknown_variable_is_named_with_its_near_match(tmp_path):
    prompt = library(tmp_path).get("general", 1)
    with pytest.raises(PromptError, match=r"no value for question"):
        prompt.render()
    with pytest.raises(PromptError, match=r"no variable 'questoin'. Did you mean 'question'\?"):
        prompt.render(questoin="x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("{{ question }}", "{{ qestion }}"), r"v1\.md:13: variable 'qestion' is not declared. Did you mean 'question'\?"),
        (GOOD.replace("[question]", "[question, passages]"), r"v1\.md:1: declared but not used: passages"),
        (GOOD.replace("{{ question }}", "{{question}}"), r"v1\.md:13: '\{\{question\}\}' is not a variable"),
        (GOOD.replace("Answer.", "Answer }} now."), r"v1\.md:9: .* is not a variable"),
        (GOOD.replace("# User", "# Human"), r"needs the two parts '# System' and '# User'"),
        (GOOD.replace("owner: o\n", ""), r"front matter lacks owner"),
        (GOOD.replace("purpose: p", "purpose: [p"), r"v1\.md:\d: front matter is not YAML"),
        (GOOD.replace("[question]", "question"), r"v1\.md:5: variables must be a list"),
        (GOOD.replace("owner: o", "owner: o\nrefusal: I pass."), r"refusal 'I pass\.' does not stand in the body"),
        ("Answer.", r"v1\.md:1: front matter between two lines"),
    ],
)
def test_a_wrong_file_is_told_by_name_and_line(tmp_path, text, message):
    with pytest.raises(PromptError, match=message):
        library(tmp_path, text).get("general", 1)


def test_an_unknown_prompt_or_version_lists_those_known():
    with pytest.raises(PromptError, match=r"No answer prompt 'leagl'. Did you mean 'legal'\? Known: engineering, finance"):
        SHIPPED.get("leagl", 3)
    with pytest.raises(PromptError, match=r"No version 9 of the prompt answer/legal. Known: 1, 2, 3"):
        SHIPPED.get("legal", 9)


def test_a_name_cannot_leave_the_folder(tmp_path):
    (tmp_path / "v1.md").write_text(GOOD)
    with pytest.raises(PromptError, match="No answer prompt"):
        library(tmp_path).get("../..", 1)


def test_a_folder_without_prompts_says_which_setting_names_another(tmp_path):
    with pytest.raises(PromptError, match="TOUCHSTONE_PROMPTS"):
        PromptLibrary(tmp_path / "nowhere").names()


def test_a_file_that_is_not_text_is_a_prompt_error(tmp_path):
    path = tmp_path / "v1.md"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PromptError, match="cannot be read"):
        parse_prompt(path.read_bytes(), path, "answer/x/v1")
