"""Everyday words of offices that mean the same: what a colleague asks by one of them, a document may say by another."""

from functools import cache
from typing import Final

from serving.pipeline.text.stems import stem

_SYNONYMS: Final = (
    "holiday vacation leave",
    "pay salary wage remuneration",
    "order purchase spend procure buy",
    "client customer",
    "firm company business",
    "boss manager superior supervisor",
    "bill invoice",
    "supplier vendor",
    "keep retain retention store",
    "erase delete destroy remove",
    "document paper record file",
    "contract agreement",
    "cost price fee charge",
    "ceiling cap limit maximum",
    "minimum least floor",
    "staff employee worker personnel colleague",
    "approve authorise sign consent permit allow",
    "reimburse refund repay",
    "allowance per-diem",
    "meal food lunch dinner",
    "trip travel journey",
    "deadline due latest",
    "start begin commence",
    "end finish expire terminate",
    "illness sick sickness ill",
    "quit resign leaver",
    "hire recruit",
    "candidate applicant",
    "warranty guarantee",
    "discount rebate reduction",
    "reseller partner distributor",
    "answer respond response reply",
    "fault defect failure broken",
    "outage downtime failure",
    "leak breach",
    "rule policy",
    "swap replace exchange",
    "password secret credential",
    "device unit box equipment",
    "quarter quarterly",
    "month monthly",
    "year annual yearly",
    "week weekly",
    "day daily",
    "home remote remotely",
    "confidential secret",
    "phone telephone call",
    "mail email e-mail",
    "notify inform tell report",
    "person people",
    "bonus reward premium",
    "colour color",
    "weight weigh",
)


@cache
def _groups() -> dict[str, frozenset[str]]:
    groups: dict[str, frozenset[str]] = {}
    for line in _SYNONYMS:
        stems = frozenset(stem(word) for word in line.split())
        for word in stems:
            groups[word] = groups.get(word, frozenset()) | stems
    return groups


def synonyms(term: str) -> frozenset[str]:
    """Stems that mean much the same as a stem, itself left out."""
    return _groups().get(term, frozenset()) - {term}
