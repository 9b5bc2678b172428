"""A decision is the last well-formed one; everything else is unreadable."""

from __future__ import annotations

import pytest

from dgrpo.judging.verdicts import READ_CHARACTERS, read_decision


@pytest.mark.parametrize(
    ("reply", "decision"),
    [
        ("All is well. <decision> yes </decision>", True),
        ("2+2 is 4, not 5.\n<decision>no</decision>\n", False),
        ("<Decision> YES </DECISION>", True),
        ("<decision> yes </decision> On second thought: <decision> no </decision>", False),
        ("<decision> no </decision> <decision> yes", False),
        ("", None),
        ("yes", None),
        ("<decision> yes", None),
        ("<decision> yes or no </decision>", None),
        ("<decision> yes </decision", None),
        ("<decision></decision>", None),
        ("‹decision› yes ‹/decision›", None),
        ("<decision>" * 10_000, None),
        ("<decision> yes </decision>" + " " * READ_CHARACTERS, None),
    ],
)
def test_only_a_well_formed_decision_is_read(reply: str, decision: bool | None) -> None:
    assert read_decision(reply) is decision
