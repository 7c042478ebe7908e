"""Groups of examples that are not independent: those that share a text, and those whose texts are nearly the same."""

from collections.abc import Hashable, Sequence

from harness.golden.case import Case
from harness.golden.similarity import question_words, similar_words


def joined(keys: Sequence[Sequence[Hashable]]) -> list[str]:
    """A group's name for each example: examples that share a key, directly or through others, are one group."""
    parent = list(range(len(keys)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[Hashable, int] = {}
    for index, own in enumerate(keys):
        for key in own:
            one, other = root(index), root(first.setdefault(key, index))
            parent[max(one, other)] = min(one, other)
    return [f"g{root(index)}" for index in range(len(keys))]


def near_duplicates(texts: Sequence[str], groups: Sequence[str] = ()) -> list[str]:
    """A group's name for each text: texts with the same words, or nearly all the same words, are one group, as are named groups."""
    return joined([_text_keys(keys, groups[index] if groups else "") for index, keys in enumerate(_wordings(texts))])


def near_duplicate_pairs(pairs: Sequence[tuple[str, str]], groups: Sequence[str] = ()) -> list[str]:
    """A group's name for each pair of texts: pairs that share a text, or nearly one, are one group."""
    wordings = _wordings([text for pair in pairs for text in pair])
    return joined(
        [_text_keys(wordings[2 * index] + wordings[2 * index + 1], groups[index] if groups else "") for index in range(len(pairs))]
    )


def _text_keys(keys: Sequence[Hashable], group: str) -> list[Hashable]:
    return [*keys, ("group", group)] if group else list(keys)


def _wordings(texts: Sequence[str]) -> list[list[Hashable]]:
    """For each text its words, and those of a similar text before it."""
    cases = [Case(id=f"{index}", question=text if text.strip() else "?", **_UNKNOWN) for index, text in enumerate(texts)]
    keys: list[list[Hashable]] = [[question_words(case)] for case in cases]
    for pair in similar_words(cases):
        keys[int(pair.second.id)].append(question_words(pair.first))
    return keys


_UNKNOWN = {"answerable": False, "kind": "unanswerable"}
