"""What counts as a word: the patterns that differ, each for its reason."""

import re
from typing import Final

WORD: Final = re.compile(r"\w+")  # a run of letters, digits and underscores: what search, vectors and repeats are made of
WORD_WITHOUT_UNDERSCORE: Final = re.compile(r"[^\W_]+")  # as ROUGE counts: `net_price` is two
WHOLE_WORD: Final = re.compile(r"\w+(?:['’-]\w+)*")  # with what is inside it: "A-12", "how-to" and "don't" are one
# of an answer: 2026-03-31 and 1,200 are one, "5km" is two
WORD_OR_NUMBER: Final = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*|\d+")
# as an author writes it: R&D, 24/7 and 30% are one
WRITTEN_WORD: Final = re.compile(r"[^\W_]+(?:['’./&-][^\W_]+)*%?")
# of handbooks: file names, part numbers and amounts are one
TECHNICAL_WORD: Final = re.compile(r"\d[\d,]{0,18}\.\d+|\d{1,3}(?:,\d{3})+|[^\W_]+(?:[-_./'’][^\W_]+)*")
