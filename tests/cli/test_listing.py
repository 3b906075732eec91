"""What is said of a quota in one line."""

import pytest

from broker.cli.listing import in_short
from broker.ipc.schema import AccountQuota, QuotaWindow

NOW = 1_750_000_000.0
FIVE = QuotaWindow(name="5 hours", used=0.25)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"plan": "pro", "windows": (FIVE,)}, "quota now: pro, 5 hours 25 % used"),
        ({"plan": "pro", "windows": (FIVE,), "notes": ("could not be read: gone",)}, "quota now: pro, 5 hours 25 % used"),
        ({"plan": "pro", "notes": ("Kiro's answer about limits could not be read.", "x")}, "quota now: pro, Kiro's answer about limits could not be read."),
        ({"notes": ("could not be read: overloaded",)}, "quota now: could not be read: overloaded"),
        ({"windows": (QuotaWindow(name="credits"),)}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_an_answer_that_could_not_be_read_says_so(fields: dict[str, object], said: str) -> None:
    assert in_short(AccountQuota(account="a/b", read_at=NOW, **fields), NOW) == said  # type: ignore[arg-type]
