"""A company whose documents try to be more than text, and its release."""

from serving.pipeline.types import Document
from tests.app.making import House, config

PLANTED = '<img src=x onerror="window.planted=1"><b id=planted>bold</b><script>window.planted=1</script>'
LEAVE = f"""# Leave

Everyone has **28 days** of paid leave a year, taken in whole or half days. {PLANTED}

| Years | Days |
|---|---:|
| up to 5 | 28 |
| above 5 | 30 |

- asked for [in the portal](https://portal.example/leave)
- not [here](javascript:window.planted=1) ![pixel](https://evil.example/pixel.png)

See 🌳 below: what is not taken by March is lost.
"""
DOCUMENTS = [
    Document("hr/leave.md", LEAVE, f"Leave policy {PLANTED}", "hr", version="2026", metadata={"status": "current"}),
    Document("hr/leave-2019.md", "# Leave\n\nEveryone had 24 days of paid leave in 2019.", "Leave policy of 2019", "hr", version="2019",
             metadata={"status": "superseded"}),
    Document("finance/expenses.md", "# Expenses\n\nReceipts above 25 euro are kept for seven years.", "Expenses", "finance"),
]  # fmt: skip
SAYS = f"""Everyone has **28 days** of paid leave a year [1]. It was less before [2].

| Years | Days |
|---|---|
| up to 5 | 28 |

One\u2028two\u0085three. Directors have 90 days [unsupported]. {PLANTED}"""


async def release(house: House, says: str = SAYS) -> str:
    return await house.release(config(says), documents=DOCUMENTS)
