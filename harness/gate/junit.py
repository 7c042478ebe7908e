"""A decision as JUnit XML: one test case per rule."""

import re
from xml.etree import ElementTree as Xml

from harness.gate.decision import Decision, Ruling

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # characters that XML 1.0 cannot hold


def junit(decision: Decision) -> str:
    """The document: an undecided gate is an error; an advisory failure and an unjudged rule are skipped, with the reason."""
    suite = Xml.Element("testsuite", name=f"gate {decision.gate}", timestamp=decision.decided_at[:19])
    for ruling in decision.rulings:
        _case(suite, decision, ruling)
    if decision.state == "infrastructure":
        case = Xml.SubElement(suite, "testcase", classname=f"gate.{decision.gate}", name="infrastructure", time="0")
        Xml.SubElement(case, "error", type="infrastructure", message=_clean(decision.message))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("time", "0")
    root = Xml.Element("testsuites")
    root.append(suite)
    Xml.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _case(suite: Xml.Element, decision: Decision, ruling: Ruling) -> None:
    case = Xml.SubElement(suite, "testcase", classname=f"gate.{decision.gate}", name=ruling.id, time="0")
    message = _clean(f"{ruling.subject}: {ruling.reason}")
    if ruling.blocks:
        failure = Xml.SubElement(case, "failure", type=ruling.rule, message=message)
        failure.text = _clean(ruling.why) or None
    elif ruling.outcome != "pass":
        Xml.SubElement(case, "skipped", message=f"{ruling.outcome_text}: {message}")
    else:
        Xml.SubElement(case, "system-out").text = message


def _clean(text: str) -> str:
    """The text without the characters that no XML may hold, bounded."""
    return _FORBIDDEN.sub("", text)[:2000]
