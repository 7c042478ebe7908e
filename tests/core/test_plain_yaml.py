"""The one reader of YAML refuses what would be misread, with its line, and takes no longer than the text is long."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from serving.pipeline.config import load_config, read_yaml
from serving.pipeline.errors import ConfigError, PromptError
from serving.pipeline.plain_yaml import MOST_DEPTH, YamlError, dump_plain, load_located, load_plain
from serving.pipeline.prompts import PromptLibrary

ROOT = Path(__file__).parents[2]
SAFE = re.compile(r"\byaml\.(safe_load|load|full_load|unsafe_load|safe_load_all|load_all|compose|parse)\b")


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: 2\na: 3", 3, "the key 'a' is given twice; first in line 1"),
        ('a: 1\n"a": 3', 2, "given twice"),
        ("a:\n  b: 1\n  b: 2", 3, "the key 'b' is given twice; first in line 2"),
        ("- {a: 1, a: 2}", 1, "given twice"),
        ("x: &x {a: 1}\ny:\n  <<: *x", 3, "merge key"),
        ("<<: {a: 1}", 1, "merge key"),
        ("x: &x [1]\ny: *x", 2, r"the alias \*x is not allowed"),
        ("&x [*x]", 1, "alias"),
        ("a: 1\nb: !!python/name:os.system", 2, "the tag .* is not allowed"),
        ("a: !!binary aGk=", 1, "the tag"),
        ("!!set {a}", 1, "the tag"),
        ("a: 1\n---\nb: 2", 2, "a second document"),
        ("? [a]\n: b", 1, "a key must be a single value"),
        ("a: [1\nb: 2", 2, "expected"),
        ("a: 1\n\tb: 2", 2, "tab"),
        ("a: \0", 1, "control characters|special characters"),
        ("[" * (MOST_DEPTH + 1), 1, "nested too deeply"),
    ],
)
def test_what_would_be_misread_is_refused_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(YamlError, match=reason) as caught:
        load_plain(text)
    assert caught.value.line == line
    assert "\n" not in str(caught.value)
    with pytest.raises(YamlError) as later:
        load_plain(text, first_line=10)
    assert later.value.line == line + 9


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))


@pytest.mark.parametrize("text", [BOMB, "[" * 1_000_000, "{a: " * 500_000, "- " * 500_000, "- a\n" * 1_000_000, "a" * 4_000_001])
def test_a_small_file_never_stands_for_much(text: str) -> None:
    with pytest.raises(YamlError):
        load_plain(text)


def test_a_bomb_as_configuration_is_one_line_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(BOMB)
    with pytest.raises(ConfigError, match=rf"^{path}:2: not YAML: the alias \*a0 is not allowed"):
        load_config(path)
    path.write_text("retrieve: {top_k: 3}\nretrieve: {top_k: 4}\n")
    with pytest.raises(ConfigError, match=rf"^{path}:2: not YAML: the key 'retrieve' is given twice; first in line 1"):
        read_yaml(path)


def test_a_key_twice_in_a_prompt_is_named_by_its_line_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "answer" / "p"
    path.mkdir(parents=True)
    (path / "v1.md").write_text("---\npurpose: a\npurpose: b\n---\nbody")
    with pytest.raises(PromptError, match=r"v1\.md:3: front matter is not YAML: the key 'purpose' is given twice"):
        PromptLibrary(tmp_path).get("p", 1)


def test_plain_values_are_those_of_the_field_and_a_date_stays_a_text() -> None:
    text = "a: 1\nb: [x, 2.5, ~, yes, '1']\nc: {d: 2026-01-01, e: 12:30, f: 2024-13-45}\ng: !!str 1\nh: 0x_\n1: n"
    assert load_plain(text) == {
        "a": 1, "b": ["x", 2.5, None, True, "1"], "c": {"d": "2026-01-01", "e": "12:30", "f": "2024-13-45"}, "g": "1", "h": "0x_", 1: "n",
    }  # fmt: skip
    assert load_plain("") is None
    assert load_plain(b"\xef\xbb\xbfa: \xc3\xa9") == {"a": "é"}


def test_every_key_has_its_line_and_texts_stay_as_written() -> None:
    located = load_located("a:\n  b: 1.10\nc: [{d: yes}]", first_line=5, texts=True)
    assert located.data == {"a": {"b": "1.10"}, "c": [{"d": "yes"}]}
    assert located.lines == {("a",): 5, ("a", "b"): 6, ("c",): 7, ("c", "d"): 7}


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(plain)
def test_what_is_dumped_is_read_back(data: object) -> None:
    assert load_plain(dump_plain(data)) == data


@given(st.text(alphabet="ab:-[]{}#&*!|>'\"%@, \n\t?<~123.", max_size=60))
def test_any_text_is_data_or_one_clear_error_and_agrees_with_the_library(text: str) -> None:
    try:
        located = load_located(text, texts=True)
    except YamlError as error:
        said, line = str(error), error.line
    else:
        try:
            expected = yaml.load(text, Loader=yaml.BaseLoader)
        except (yaml.YAMLError, ValueError):
            return  # libyaml is laxer in places
        assert located.data in (expected, None)
        assert located.data is not None or expected in ("", None)
        return
    assert said
    assert 1 <= line <= text.count("\n") + 1


def test_no_other_module_reads_yaml() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for folder in ("serving", "harness", "touchstone")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if SAFE.search(path.read_text(encoding="utf-8"))
    ]
    assert readers == ["serving/pipeline/plain_yaml.py"]
