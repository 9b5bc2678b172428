"""What a judge thinks decides nothing, however its reasoning is marked."""

from __future__ import annotations

import pytest

from dgrpo.judging.reasoning import spoken
from dgrpo.judging.verdicts import Ending, opinion_of, read_decision

YES, NO = "<decision> yes </decision>", "<decision> no </decision>"


@pytest.mark.parametrize(
    ("reply", "decision"),
    [
        (f"<think>I answer {YES} or {NO}. All holds.</think>\nFine. {YES}", True),
        (f"<think>{YES}</think> It is wrong. {NO}", False),
        (f"<think>{NO}</think>\n\n{YES}", True),
        (f"<think>\n\n</think>\n\n{YES}", True),
        (f"<think>Perhaps {YES}</think>", None),
        (f"<think>Perhaps {YES}", None),
        (f"<think>Perhaps {NO}", None),
        (f"  <THINK> Perhaps {YES}", None),
        (f"<thinking>{NO}</thinking> {YES}", True),
        (f"<reasoning>{NO}</reasoning> {YES}", True),
        (f"[THINK]{NO}[/THINK] {YES}", True),
        (f"[THINK] Perhaps {YES}", None),
        (f"◁think▷{NO}◁/think▷ {YES}", True),
        (f"<seed:think>{NO}</seed:think> {YES}", True),
        (f"Perhaps {NO}, or {YES}?</think>\n{YES}", True),
        (f"Perhaps {YES}</think> I cannot say.", None),
        (f"<think> It reads <think> 2+3=5 </think>. {NO}? </think> {YES}", True),
        (f"Step one: <think> 2+3=5 </think> is true. {YES}", True),
        (f"{NO} Its <think> 2+3=6 </think> is false.", False),
        (f"{YES} <think> Wait", None),
        (f"{YES} <think> Wait </think>", True),
        (f"The `<think>` part holds. {YES}", True),
        (f'The "<think>" part holds, so does "</think>". {YES}', True),
        (f"<|channel|>analysis<|message|>{NO}?<|end|><|start|>assistant"
         f"<|channel|>final<|message|>{YES}", True),
        (f"<|channel|>analysis<|message|>Perhaps {YES}", None),
        (f"<|channel>thought\n{NO}?<channel|>{YES}", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["unknown", "own"])
def test_only_what_stands_outside_of_the_reasoning_decides(
    reply: str, decision: bool | None, ending: Ending
) -> None:
    assert read_decision(reply, last=True, ending=ending) is decision


@pytest.mark.parametrize(
    ("reply", "by_itself"),
    [
        (f"The <think> part holds. {YES}", True),
        (f"<think> The <think> part holds. </think> {YES}", True),
        (f"<think> It reads <think> 2+3=5 </think> there. {YES}", True),
        (f"<think> It holds. </think> The <think> part, too. {YES}", True),
        (f"<think> It holds. {YES}", None),
        (f"Criticism: <think> It holds. {YES}", None),
        (f"<decision> <think> It holds. {YES}", None),
    ],
)
def test_a_tag_that_was_only_spoken_of_needs_a_reply_that_ended_by_itself(
    reply: str, by_itself: bool | None
) -> None:
    """No model ends its turn while it reasons."""
    assert read_decision(reply, last=True, ending="own") is by_itself
    assert read_decision(reply, last=True) is None
    assert read_decision(reply, last=True, ending="cut") is None


def test_a_reply_that_was_cut_off_accepts_nothing_and_says_why() -> None:
    opinion = opinion_of(f"A draft: {YES}", last=True, ending="cut")
    assert opinion.undecided == "unreadable"
    assert "raise max_tokens" in opinion.detail
    assert opinion_of(f"A draft: {YES}", last=True, ending="own").accept is True
    assert opinion_of(f"Step 2 is wrong. {NO} For", last=True, ending="cut").accept is False


def test_a_plain_continuation_may_close_what_it_never_opened() -> None:
    """A base model goes on with further completions after its decision."""
    assert read_decision(f"{NO}\n2+2=4 </think> <answer> 4 </answer>") is False
    assert read_decision(f"{YES}\n<think> 2+2", ending="cut") is True


def test_a_criticism_is_kept_without_the_reasoning_before() -> None:
    assert opinion_of(f"<think>Hm.</think>\nIt holds. {YES}", last=True).detail == "It holds."


@pytest.mark.parametrize("piece", ["<think>", "</think>", "<think></think>", "`<think>`", "<think"])
def test_tags_without_end_cost_linear_time(piece: str) -> None:
    said, _ = spoken(piece * 100_000 + YES, opened=True)
    assert len(said) <= len(piece) * 100_000 + len(YES) + 100_000
