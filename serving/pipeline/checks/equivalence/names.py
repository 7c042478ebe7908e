"""The names in a question: capitalised words, acronyms, and known countries, cities and peoples."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from serving.pipeline.checks.equivalence.quantities import is_figure
from serving.pipeline.checks.equivalence.tokens import Token
from serving.pipeline.checks.equivalence.words import words_of

_TITLE_CASE: Final = 0.6  # share of capitalised words from which capitals say nothing
_NOT_NAMES: Final = words_of(
    """
    i i'm i've i'd i'll im ok monday tuesday wednesday thursday friday saturday sunday january february march april may june july
    august september october november december jan feb mar apr jun jul aug sep sept oct nov dec what which who whom whose when
    where why how is are was were do does did can could will would should may must has have had a an the and or but if in on at of
    to for from by with my your our their his her its it we you they he she this that these those not no mr mrs ms dr pdf faq id
    """
)
_GENERIC: Final = words_of(
    """
    new north south east west northern southern eastern western san los las saint st united republic lake mount university bank
    company inc ltd corp group of the and de la le el van von general department team office city state international national
    world us great prime minister president party
    """
)
_ALIASES: Final = {
    alias: name
    for name, aliases in {
        "usa": "us america american americans unitedstates",
        "uk": "britain british britons unitedkingdom",
        "uae": "emirates",
        "eu": "european",
        "germany": "german germans",
        "france": "french frenchman",
        "italy": "italian italians",
        "spain": "spanish spaniard spaniards",
        "poland": "polish pole poles",
        "portugal": "portuguese",
        "netherlands": "dutch holland",
        "belgium": "belgian belgians",
        "switzerland": "swiss",
        "austria": "austrian austrians",
        "sweden": "swedish swede swedes",
        "norway": "norwegian norwegians",
        "denmark": "danish dane danes",
        "finland": "finnish finn finns",
        "ireland": "irish",
        "scotland": "scottish scots",
        "wales": "welsh",
        "england": "english",
        "greece": "greek greeks",
        "turkey": "turkish turk turks",
        "russia": "russian russians",
        "ukraine": "ukrainian ukrainians",
        "china": "chinese",
        "japan": "japanese",
        "korea": "korean koreans",
        "india": "indian indians",
        "pakistan": "pakistani pakistanis",
        "bangladesh": "bangladeshi",
        "nepal": "nepali nepalese",
        "srilanka": "lankan",
        "iran": "iranian iranians persian",
        "iraq": "iraqi iraqis",
        "israel": "israeli israelis",
        "egypt": "egyptian egyptians",
        "brazil": "brazilian brazilians",
        "mexico": "mexican mexicans",
        "canada": "canadian canadians",
        "australia": "australian australians",
        "argentina": "argentinian argentine",
        "africa": "african africans",
        "asia": "asian asians",
        "texas": "texan texans",
        "california": "californian",
        "ohio": "",
        "vietnam": "vietnamese",
        "thailand": "thai",
        "indonesia": "indonesian",
        "malaysia": "malaysian",
        "singapore": "singaporean",
        "philippines": "filipino filipinos philippine",
        "nigeria": "nigerian nigerians",
        "kenya": "kenyan",
        "hungary": "hungarian",
        "czechia": "czech",
        "romania": "romanian",
        "newyork": "nyc",
    }.items()
    for alias in [name, *aliases.split()]
}
_PLACES: Final = words_of(
    """
    europe americas emea apac london paris berlin munich hamburg frankfurt madrid barcelona rome milan vienna zurich geneva
    brussels amsterdam copenhagen stockholm oslo helsinki dublin edinburgh manchester leeds glasgow lisbon porto warsaw krakow
    gdansk gdynia prague budapest bucharest athens istanbul ankara moscow kiev kyiv beijing shanghai shenzhen tokyo osaka kyoto
    seoul delhi mumbai bangalore bengaluru chennai hyderabad kolkata pune karachi lahore dhaka kathmandu bangkok jakarta manila
    hanoi sydney melbourne brisbane auckland toronto vancouver montreal ottawa boston chicago seattle denver austin dallas houston
    atlanta miami philadelphia phoenix washington lyon marseille toulouse turin naples cairo lagos nairobi johannesburg dubai
    riyadh tehran baghdad jerusalem florida virginia oregon arizona colorado michigan ohio georgia illinois bavaria saxony
    scotland kashmir punjab gujarat kerala bihar alaska hawaii
    """
)
KNOWN: Final = _PLACES | (_ALIASES.keys() - {"us", "polish", "turkey", "pole", "china", "swede", "dane", "thai", "finn"})


@dataclass(frozen=True, slots=True)
class QuestionNames:
    """The names of a question, each as its words, and every word of the question under which a name may be found."""

    runs: tuple[tuple[str, ...], ...]
    words: frozenset[str]


def names_of(tokens: Sequence[Token], given: frozenset[str] = frozenset()) -> QuestionNames:
    """The names of a question; `given` are names of the corpus, in lower case."""
    words = [token for token in tokens if token.kind == "word"]
    capitals_tell = sum(token.capital for token in words) <= _TITLE_CASE * len(words) or len(words) < 3
    all_loud = all(token.loud or len(token.text) < 2 for token in words)
    runs: list[tuple[str, ...]] = []
    run: list[str] = []
    opening = True  # a capital there says nothing
    pending = ""  # a capital at the opening, which belongs to a name if another capital follows
    for token in tokens:
        if token.kind == "word" and token.text not in _NOT_NAMES and not is_figure(token.text) and len(token.text) > 1:
            known = token.text in KNOWN or token.text in given or (token.loud and not all_loud)
            if known or (capitals_tell and token.capital and not opening):
                run += [pending] * bool(pending) + [token.text]
                pending = ""
            else:
                runs, run = _closed(runs, run)
                pending = token.text if opening and token.capital and capitals_tell else ""
        else:
            runs, run = _closed(runs, run)
            pending = ""
        opening = token.kind == "stop"
    runs, run = _closed(runs, run)
    return QuestionNames(tuple(runs), frozenset(form for token in tokens for form in _forms(token.text)) | _joined(words))


def _closed(runs: list[tuple[str, ...]], run: list[str]) -> tuple[list[tuple[str, ...]], list[str]]:
    return ([*runs, tuple(run)] if run else runs), []


def _forms(word: str) -> set[str]:
    """What a word may be known as: itself, without a plural, and the country of a people."""
    return {word, word.removesuffix("s"), word + "s", _ALIASES.get(word, word), word.replace("'", "")}


def _joined(words: Sequence[Token]) -> frozenset[str]:
    """Two words written as one, and their initials: "United Kingdom" is UK."""
    pairs = list(pairwise(words))
    joined = {_ALIASES.get(one.text + other.text, one.text + other.text) for one, other in pairs}
    initials = {one.text[:1] + other.text[:1] for one, other in pairs if one.capital and other.capital}
    triples = zip(words, words[1:], words[2:], strict=False)
    return frozenset(joined | initials | {"".join(token.text[:1] for token in triple) for triple in triples if triple[0].capital})


def unnamed(one: QuestionNames, other: QuestionNames) -> str | None:
    """A name of one question that the other does not have."""
    partly_one: list[str] = []
    partly_other: list[str] = []
    for first, second, partly in ((one, other, partly_one), (other, one, partly_other)):
        for run in first.runs:
            unmatched = [word for word in run if not _forms(word) & second.words]
            if not unmatched:
                continue
            if not any(word not in unmatched and word not in _GENERIC for word in run) and not _abbreviated(run, second.words):
                return " ".join(run)
            partly.append(" ".join(unmatched))
    return partly_one[0] if partly_one and partly_other else None


def learned_names(questions: Iterable[Sequence[Token]]) -> frozenset[str]:
    """The words that questions write as names and never in small letters; one all in small letters or capitals tells nothing."""
    named: set[str] = set()
    small: set[str] = set()
    for tokens in questions:
        words = [token for token in tokens if token.kind == "word"]
        if any(token.capital for token in words) and not all(token.loud for token in words):
            small.update(token.text for token in words if not token.capital)
            named.update(word for run in names_of(tokens).runs for word in run)
    return frozenset(word for word in named - small if len(word) > 2)


def named_apart(one: QuestionNames, other: QuestionNames, known: frozenset[str]) -> bool:
    """Whether two questions name others of the known names, however they are written; a part of a name stands for it."""
    first, second = known & one.words, known & other.words
    only, instead = ({word for word in names if not _forms(word) & side.words} for names, side in ((first, other), (second, one)))
    return bool(only and instead) or (bool(only or instead) and not first & second)


def _abbreviated(run: Sequence[str], words: frozenset[str]) -> bool:
    return len(run) > 1 and ("".join(word[0] for word in run) in words or "".join(run) in words)
