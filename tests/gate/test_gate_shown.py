import re
from dataclasses import replace
from xml.etree import ElementTree as Xml

import pytest

from harness.gate.decide import undecided
from harness.gate.decision import Decision
from harness.gate.junit import junit
from harness.gate.summary import markdown_literal, summary
from tests.support.gating import a_gate, a_report, crashed, decided
from tests.support.making import a_case

NASTY = "a|b `c` <script>alert(1)</script> @octocat [x](http://evil.example) ![i](y) #12 **b** \x00\x1b[31m\u202e & www.evil.example\n# h"
FLOOR = {"rule": "floor", "metric": "quality", "at_least": 0.5}
NOT_WORSE = {"rule": "non_inferior", "metric": "quality", "margin": 0.1}


def nasty() -> Decision:
    case = a_case(id="c0", question=NASTY, domain=NASTY)
    by_domain = {"rule": "slice", "metric": "quality", "by": "domain", "at_least": 0.5, "min_cases": 1}
    decision = decided(
        a_report(0.0, cases=[case]), NOT_WORSE | {"why": NASTY}, by_domain, champion=a_report(1.0, cases=[case], config_digest="champion")
    )
    return replace(decision, message=NASTY, reproduce="touchstone gate '``` @octocat\n```'")


def test_a_question_cannot_break_the_comment_nor_ping_anybody() -> None:
    text = summary(nasty())
    outside = re.sub(r"````sh\n.*\n````", "", text)  # the command stands in a block that its own ticks cannot end
    assert outside != text
    assert "<script" not in outside
    assert "@" not in outside
    assert "`" not in outside
    assert "](" not in outside
    assert "http:" not in outside
    assert "www." not in outside
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", outside)
    for line in outside.splitlines():
        assert line.count("|") in (0, 4, 5, 8), line  # no row has a cell more or less than its head
        assert not line.startswith(("#", ">")) or line.startswith("## ❌ Gate small failed")


def test_escaped_text_reads_as_it_was() -> None:
    import html

    assert html.unescape(markdown_literal("a|b `c` <i> @me #1 _x_")).replace("\u200b", "") == "a|b `c` <i> @me #1 _x_"
    assert markdown_literal("quality floor 0.25") == "quality floor 0.25"
    assert len(markdown_literal("x" * 10_000)) == 160


def test_junit_is_well_formed_with_one_case_per_rule() -> None:
    document = Xml.fromstring(junit(nasty()))
    [suite] = document.findall("testsuite")
    assert [case.get("name") for case in suite.findall("testcase")] == ["r0", "r1"]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("2", "2", "0", "0")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "<script>" in (failure.text or "")
    assert "\x00" not in junit(nasty())


def test_junit_shows_advice_as_skipped_and_an_outage_as_an_error() -> None:
    advice = Xml.fromstring(junit(decided(a_report(0.0), FLOOR | {"advisory": True})))
    skipped = advice.find("testsuite/testcase/skipped")
    assert skipped is not None
    assert (skipped.get("message") or "").startswith("fail (advisory)")
    outage = Xml.fromstring(junit(decided(crashed(a_report(0.0), infrastructure=True), FLOOR)))
    [suite] = outage.findall("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("2", "0", "1", "1")


@pytest.mark.parametrize(("value", "title"), [(1.0, "## ✅ Gate small passed"), (0.0, "## ❌ Gate small failed")])
def test_the_summary_begins_with_the_verdict(value: float, title: str) -> None:
    assert summary(decided(a_report(value), FLOOR)).startswith(title)


def test_an_undecided_gate_says_that_nothing_was_judged() -> None:
    decision = undecided(a_gate(FLOOR), "the endpoint is down", reproduce="touchstone gate")
    assert decision.exit_code == 3
    text = summary(decision)
    assert text.startswith("## ⚠️ Gate small could not decide")
    assert "the endpoint is down" in text
    assert "❌" not in text
    assert "```sh\ntouchstone gate\n```" in text


def test_the_summary_tells_flips_and_the_largest_changes() -> None:
    text = summary(decided(a_report(0.0, 1.0), NOT_WORSE, champion=a_report(1.0, 1.0)))
    assert "1 cases flipped to the worse, 0 to the better" in text
    assert "| c0 | How long? | 1.000 | 0.000 |" in text
