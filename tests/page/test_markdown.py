"""The renderer of Markdown, in a real browser: places of characters, and what it makes of everything that it is given."""

import json
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.app.making import House
from tests.app.real import listening
from tests.page.browsing import check_unplanted, visiting

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
RENDER = """
async ([text, start, end]) => {
  const address = document.querySelector("script[type=module]").src.replace("ask.js", "markdown.js");
  const { markdown, unitSpan } = await import(address);
  const began = performance.now();
  const made = document.createElement("div");
  made.append(markdown(text, { mark: unitSpan(text, start, end), cite: (number) => { const b = document.createElement("b"); b.textContent = `#${number}`; return b; } }));
  document.getElementById("turns").append(made);
  const marked = [...made.querySelectorAll("mark")].map((mark) => mark.textContent).join("|");
  return { tree: shape(made), marked, ms: performance.now() - began };
  function shape(node) {
    return [...node.childNodes].map((child) => (child.nodeType === 3 ? child.data : child.localName === "mark" ? shape(child) : `<${child.localName}>${shape(child)}</${child.localName}>`)).join("");
  }
}
"""  # noqa: E501
CASES = [
    ("# One\ntwo *three* **four** `five`", "<h3>One</h3><p>two <em>three</em> <strong>four</strong> <code>five</code></p>"),
    ("- a\n- b\n  - c\n\n1. d\n2. e", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul><ol><li>d</li><li>e</li></ol>"),
    ("> quoted\n> more\n\n---", "<blockquote><p>quoted\nmore</p></blockquote><hr></hr>"),
    ("```\n<b>&*x*\n```", "<pre><code><b>&*x*</code></pre>"),
    ("snake_case_name 2 * 3 * 4 \\*not\\* `` `x`", "<p>snake_case_name 2 * 3 * 4 *not* `` <code>x</code></p>"),
    ("said [1] and [2, 3], not [x]", "<p>said <b>#1</b> and <b>#2</b><b>#3</b>, not [x]</p>"),
    ("[a](https://b.example/c) [d](javascript:e) ![f](https://g.example)", "<p><a>a</a> <span>d</span> <span>f</span></p>"),
    ("<script>x</script> &amp;", "<p><script>x</script> &amp;</p>"),
]
HOSTILE = ["*" * 20_000, "[" * 20_000, "_a *b " * 8_000, "`" * 20_000, "> " * 10_000, "- " * 10_000 + "x", "|-" * 10_000, "[a](" * 8_000]
HOSTILE += ["\n".join("  " * depth + "- x" for depth in range(500)), "|" * 20_000 + "\n" + "|-" * 900]


async def test_markdown_is_shown_as_it_is_meant_and_never_as_more_than_text(company: House, browser: Browser) -> None:
    async with listening(company.settings()) as server, visiting(browser, server) as visit:
        await visit.go()

        async def render(text: str, start: int = 0, end: int = 0) -> Any:
            return await visit.page.evaluate(RENDER, [text, start, end])

        for text, tree in CASES:
            assert (await render(text))["tree"] == tree, text
        table = (await render("| a | b |\n|:--|--:|\n| 1 \\| 2 | **3** |\n\nafter"))["tree"]
        assert "<th>a</th><th>b</th>" in table
        assert "<td>1 | 2</td><td><strong>3</strong></td>" in table
        assert table.endswith("<p>after</p>")

        source = "🌳 Trees\n\n> - are **very green** 🌳 in *spring*\n> - or `not`\n\n| a | b |\n|--|--|\n| one | two |"
        for part in ("Trees", "very green", "🌳 in", "spring", "not", "one"):
            start = source.rindex(part)
            assert (await render(source, start, start + len(part)))["marked"] == part
        across = await render(source, source.index("green"), source.index("spring") + 3)
        assert across["marked"] == "green| 🌳 in |spr"
        assert (await render(source, 0, len(source)))["marked"].startswith("🌳 Trees|are |very green")

        for text in HOSTILE:
            assert (await render(text, 5, 10))["tree"] is not None, json.dumps(text[:20])
        await check_unplanted(visit.page)
