"""What counts as a word, for whom, and that each idea of it stands in one place."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.pipeline.text import words
from serving.pipeline.text.stems import stem, stemmed_words
from serving.pipeline.text.stopwords import READER_STOP_WORDS, STOP_WORDS, without_stop_words
from serving.pipeline.text.words import TECHNICAL_WORD, WHOLE_WORD, WORD, WORD_OR_NUMBER, WORD_WITHOUT_UNDERSCORE, WRITTEN_WORD

ROOT = Path(__file__).resolve().parents[2]
TEXT = "net_price of R&D's how-to A-12: 1,200.50 EUR, 5km, 30% by 24/7"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (WORD, "net_price of R D s how to A 12 1 200 50 EUR 5km 30 by 24 7"),
        (WORD_WITHOUT_UNDERSCORE, "net price of R D s how to A 12 1 200 50 EUR 5km 30 by 24 7"),
        (WHOLE_WORD, "net_price of R D's how-to A-12 1 200 50 EUR 5km 30 by 24 7"),
        (WORD_OR_NUMBER, "net price of R D's how to A 12 1,200.50 EUR 5 km 30 by 24/7"),
        (WRITTEN_WORD, "net price of R&D's how-to A-12 1 200.50 EUR 5km 30% by 24/7"),
        (TECHNICAL_WORD, "net_price of R D's how-to A-12 1,200.50 EUR 5km 30 by 24/7"),
    ],
)
def test_each_pattern_takes_for_a_word_what_its_name_says(pattern: re.Pattern[str], found: str) -> None:
    assert " ".join(pattern.findall(TEXT)) == found


def test_no_two_patterns_are_the_same() -> None:
    patterns = [value.pattern for value in vars(words).values() if isinstance(value, re.Pattern)]
    assert len(set(patterns)) == len(patterns) == 6


def test_stems_are_the_same_from_many_threads() -> None:
    forms = [
        f"{base}{ending}" for base in ("approv", "expir", "travel", "manag") for ending in ("e", "es", "ed", "ing", "er", "ers", "ement")
    ]
    stem.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(stem, forms * 200))
    stem.cache_clear()
    assert found == [stem(form) for form in forms] * 200


def test_a_text_as_stems_has_no_case_no_accents_and_no_endings() -> None:
    assert stemmed_words("Cafés' approvals, APPROVED") == ["cafe", "approv", "approv"]


def test_search_and_reader_leave_out_words_of_shared_groups() -> None:
    assert len(STOP_WORDS & READER_STOP_WORDS) == 82
    assert {"the", "which", "would"} <= STOP_WORDS & READER_STOP_WORDS
    assert without_stop_words("What is the notice period?") == "notice period?"
    assert {"no", "within", "company"} <= READER_STOP_WORDS - STOP_WORDS  # for search "no" and "within" find something
    assert {"whether", "don't"} <= STOP_WORDS - READER_STOP_WORDS


def test_there_is_one_stemmer_and_one_list_of_stop_words() -> None:
    sources = {path: path.read_text(encoding="utf-8") for folder in ("serving", "harness") for path in (ROOT / folder).rglob("*.py")}
    assert [path.name for path, text in sources.items() if "import snowballstemmer" in text] == ["stems.py"]
    own = re.compile(r"=\s*re\.compile\(r\"(?:\\w\+|\[\^\\W_\]\+)\"\)|STOP\w*[^=\n]*= frozenset\(")
    assert sorted({path.name for path, text in sources.items() if own.search(text)}) == ["stopwords.py", "words.py"]
