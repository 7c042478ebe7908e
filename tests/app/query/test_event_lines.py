"""What a stream sends: lines that are lines for everybody."""

import json

from serving.app.query.jsontext import json_text
from tests.app.making import House, config, opened

HOSTILE = "One\u2028two\u2029three\u0085four <b id=planted>bold</b><img src=x onerror=\"document.title='run'\"> </script> &amp; [1]."


async def test_no_character_of_an_event_is_a_line_break_for_anybody(house: House) -> None:
    await house.release(config(HOSTILE + "\x1c\x0b"))
    async with opened(house.settings()) as api:
        plain = await api.ask()
        streamed = await api.client.post("/v1/query/stream", json={"question": "How many days of paid leave?"})
    assert plain.status_code == streamed.status_code == 200
    assert len(plain.text.splitlines()) == 1
    for line in streamed.text.splitlines():  # Python's, which knows ten kinds of line breaks
        assert line == "" or line.startswith(("event: ", "data: "))
    assert json.loads(plain.text)["answer"].startswith(HOSTILE)


def test_half_a_surrogate_pair_goes_out_as_a_question_mark() -> None:
    assert json_text({"a": "\ud800 \u2028 \u0085 é"}) == b'{"a":"? \\u2028 \\u0085 \xc3\xa9"}'
