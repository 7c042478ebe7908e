import base64
import hashlib
import re

from serving.app.web.page import FILE, policy
from tests.app.making import House, opened


async def test_the_page_runs_its_own_script_and_style_and_nothing_from_elsewhere(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        response = await api.client.get("/")
    rules = dict(rule.strip().split(" ", 1) for rule in response.headers["content-security-policy"].split(";"))
    assert rules["default-src"] == rules["form-action"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert rules["connect-src"] == "'self'"
    for kind in ("script", "style"):
        inside = re.search(rf"<{kind}>(.*?)</{kind}>", response.text, re.DOTALL)
        assert inside
        own = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{own}'"
    assert not re.search(r"https?://|//[a-z]+\.", response.text)


def test_the_page_never_makes_html_of_what_it_is_told() -> None:
    text = FILE.read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\son\w+=", text)


def test_a_page_with_another_script_has_another_policy() -> None:
    assert policy("<script>a</script><style>b</style>") != policy("<script>c</script><style>b</style>")
