"""A decision is the last well-formed one; everything else is unreadable."""

from __future__ import annotations

import math
from typing import get_args

import pytest

from dgrpo.judging.local import odds_opinion
from dgrpo.judging.verdicts import (
    NO_REPLY,
    QUOTED_CHARACTERS,
    READ_CHARACTERS,
    Opinion,
    Policy,
    Undecided,
    opinion_of,
    read_decision,
    verdict_of,
)


@pytest.mark.parametrize(
    ("reply", "decision"),
    [
        ("All is well. <decision> yes </decision>", True),
        ("2+2 is 4, not 5.\n<decision>no</decision>\n", False),
        ("<Decision> YES </DECISION>", True),
        ("<decision> yes </decision> On second thought: <decision> no </decision>", None),
        ("<decision> no </decision>\n\nQuestion: 1+1\n<decision> yes </decision>", None),
        ("It says <decision> no </decision>, so <decision> no </decision>", False),
        ("<decision> no </decision> <decision> yes", False),
        ("Fine. <decision> **yes** </decision>", True),
        ("<decision> **No.** </decision>", False),
        ('<decision> "yes" </decision>', True),
        ("<decision> ‘no’! </decision>", False),
        ("<decision>\n\n`yes`\n\n</decision>", True),
        ("<decision>: [yes] </decision>", True),
        ("<decision> **yes** or **no** </decision>", None),
        ("<decision> yesterday </decision>", None),
        ("<decision> not </decision>", None),
        ("<decision> " + "*" * 20 + "yes </decision>", None),
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


@pytest.mark.parametrize(
    ("reply", "decision"),
    [
        ("Fine. <decision> yes </decision>", True),
        ("**<decision> no </decision>**.\n", False),
        ("A draft: <decision> yes </decision>. But step 2", None),
        ("<decision> yes </decision> </s> 1", None),
        ("<decision> yes </decision><end_of_turn>", True),
        ("<decision> no </decision> because step 2 is wrong.", False),
    ],
)
def test_the_decision_of_a_model_that_follows_instructions_ends_its_reply(
    reply: str, decision: bool | None
) -> None:
    assert read_decision(reply, last=True) is decision


@pytest.mark.parametrize("kind", get_args(Undecided)[1:])
@pytest.mark.parametrize("unreadable", ["reject", "accept"])
@pytest.mark.parametrize("on_failure", ["reject", "accept"])
def test_the_policy_decides_where_the_judge_does_not_and_the_verdict_says_so(
    kind: Undecided, unreadable: Policy, on_failure: Policy
) -> None:
    opinion = Opinion(undecided=kind, detail="details")
    verdict = verdict_of(opinion, threshold=0.0, unreadable=unreadable, on_failure=on_failure)
    policy = on_failure if kind in NO_REPLY else unreadable
    assert verdict.undecided == kind
    assert verdict.accepted is (policy == "accept")
    assert verdict.reason == ("" if verdict.accepted else f"no verdict ({kind}): details")


@pytest.mark.parametrize(("odds", "threshold"), [(0.0, 0.0), (-0.1, 0.0), (2.0, 2.5), (-1.0, -2.0)])
def test_log_odds_are_accepted_from_the_threshold_on(odds: float, threshold: float) -> None:
    verdict = verdict_of(
        Opinion(score=odds), threshold=threshold, unreadable="accept", on_failure="accept"
    )
    assert verdict.accepted is (odds >= threshold)
    assert verdict.score == odds
    assert bool(verdict.reason) is not verdict.accepted


def test_the_reason_quotes_the_criticism_on_one_line_and_not_for_ever() -> None:
    opinion = opinion_of("Step 2 says\n2+2=5. " + "x" * 9_999 + " <decision> no </decision>")
    verdict = verdict_of(opinion, threshold=0.0, unreadable="reject", on_failure="reject")
    assert verdict.reason.startswith("the judge says no: Step 2 says 2+2=5. xxx")
    assert len(verdict.reason) < QUOTED_CHARACTERS + 40
    assert not verdict.undecided


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("I cannot tell.", "its reply holds no decision: “I cannot tell.”"),
        ("", "its reply holds no decision"),
        ("\x1b[2J\n\u202eyes", "its reply holds no decision: “�[2J �yes”"),
        ("<decision> yes </decision> <decision> no </decision>", "contradict one another: “<dec"),
        ("<think> Perhaps", "its reply ends inside its reasoning: “<think> Perhaps”"),
    ],
)
def test_what_cannot_be_read_is_shown_on_one_line_without_hidden_characters(
    reply: str, said: str
) -> None:
    opinion = opinion_of(reply, last=True)
    assert opinion.undecided == "unreadable"
    assert said in opinion.detail


def test_of_a_long_unreadable_reply_the_end_is_shown() -> None:
    """A decision stands at the end."""
    detail = opinion_of("x " * 50_000 + "<decision> maybe </decision>").detail
    assert detail.endswith("x <decision> maybe </decision>”")
    assert ": “…" in detail
    assert len(detail) < QUOTED_CHARACTERS + 60


def test_a_criticism_that_holds_escapes_is_shown_without_them() -> None:
    opinion = opinion_of("Bad:\x1b]0;title\x07 <decision> no </decision>")
    verdict = verdict_of(opinion, threshold=0.0, unreadable="reject", on_failure="reject")
    assert verdict.reason == "the judge says no: Bad:�]0;title�"


@pytest.mark.parametrize("odds", [math.nan, math.inf, -math.inf])
def test_odds_that_are_no_number_decide_nothing(odds: float) -> None:
    assert odds_opinion(odds).undecided == "unreadable"
