"""Each completion is judged once for all nodes of a run, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence

import pytest
from tests.judging.small_judge import questions

from dgrpo.judging.bench import Bench, Question, shared_bench
from dgrpo.judging.verdicts import NO_REPLY, Opinion, Undecided


class Counting:
    """Judges by its knob, and remembers what it was asked."""

    def __init__(self, undecided: Undecided = "", fails: bool = False) -> None:
        self.asked: list[Question] = []
        self.undecided: Undecided = undecided
        self.fails = fails

    async def ask(self, questions: Sequence[Question]) -> list[Opinion]:
        self.asked += questions
        await asyncio.sleep(0)  # let the other nodes ask meanwhile
        if self.fails:
            raise RuntimeError("a fault of ours")
        return [
            Opinion(score=float(len(q.completion)), undecided=self.undecided) for q in questions
        ]


async def four_nodes(bench: Bench, asked: Sequence[Question]) -> list[list[Opinion]]:
    return await asyncio.gather(*(bench.opinions(asked[i:]) for i in range(4)))


def test_nodes_that_ask_together_share_one_opinion_per_completion() -> None:
    judge = Counting()
    bench, asked = Bench(judge), questions()
    given = asyncio.run(four_nodes(bench, asked + asked))
    assert len(judge.asked) == len(set(judge.asked)) == len(asked)
    for offset, opinions in enumerate(given):
        assert [o.score for o in opinions] == [len(q.completion) for q in (asked * 2)[offset:]]


def test_a_decision_is_remembered_over_rounds_and_a_failure_is_not() -> None:
    for undecided in ("", "unreadable", "too-long", *NO_REPLY):
        judge = Counting(undecided)  # type: ignore[arg-type]
        bench, asked = Bench(judge), questions()[:3]
        for _ in range(2):
            asyncio.run(bench.opinions(asked))
        assert len(judge.asked) == (6 if undecided in NO_REPLY else 3)


def test_the_same_text_under_another_prompt_is_another_question() -> None:
    judge = Counting()
    first = questions()[0]
    other = Question("other", first.prompt_text, first.completion)
    asyncio.run(Bench(judge).opinions([first, other]))
    assert judge.asked == [first, other]


def test_a_fault_reaches_all_who_wait_and_leaves_nobody_waiting() -> None:
    bench = Bench(Counting(fails=True))

    async def play() -> list[object]:
        asks = (bench.opinions(questions()) for _ in range(3))
        return await asyncio.wait_for(asyncio.gather(*asks, return_exceptions=True), 30)

    outcomes = asyncio.run(play())
    assert any(isinstance(one, RuntimeError) for one in outcomes)
    assert all(isinstance(one, BaseException) for one in outcomes)
    bench.judge = Counting()
    assert len(asyncio.run(bench.opinions(questions()))) == len(questions())


def test_a_waiter_that_gives_up_takes_nobody_along() -> None:
    bench, asked = Bench(Counting()), questions()

    async def play() -> list[Opinion]:
        asker, waiter = (asyncio.create_task(bench.opinions(asked)) for _ in range(2))
        await asyncio.sleep(0)
        waiter.cancel()
        return await asker

    assert len(asyncio.run(play())) == len(asked)


def test_a_bench_is_shared_by_equal_settings_and_let_go_with_its_run() -> None:
    made = []

    def make() -> Bench:
        made.append(Counting())
        return Bench(made[-1])

    first, again, other = (shared_bench(key, make) for key in ("a", "a", "b"))
    assert first is again
    assert first is not other
    assert len(made) == 2
    del first, again
    gc.collect()
    shared_bench("a", make)
    assert len(made) == 3


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_is_asked_about_nothing(count: int) -> None:
    judge = Counting()
    assert len(asyncio.run(Bench(judge).opinions(questions()[:count]))) == count
    assert len(judge.asked) == count
