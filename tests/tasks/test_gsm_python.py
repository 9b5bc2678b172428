"""gsm-python: the programs really run, and only what they print counts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from dgrpo.errors import DgrpoError
from dgrpo.records import Prompt
from dgrpo.sandbox import Library, SandboxSettings
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.executed import KEPT_OUTCOMES, ProgramTask
from dgrpo.tasks.gsm_python import GsmPython, OfferedLibrary, worked_problems
from dgrpo.tasks.gsm_symbolic import GsmSymbolic
from dgrpo.tasks.problems import SHORTEST_TEMPLATES, word_problems
from dgrpo.tasks.reward import write_code

CALC = Library("calc", "def addition(a, b):\n    return a + b\n")


@pytest.fixture(scope="module")
def pools() -> ProgramTask:
    return GsmPython().load()


@pytest.fixture(scope="module")
def task() -> ProgramTask:
    return GsmPython(train=8, held_out=4).load()


def with_answer(answer: str) -> Prompt:
    return Prompt("key", "Question: ?\nProgram:\n", answer, "print(0)")


def test_the_default_pools_are_the_ones_the_shipped_models_never_saw(pools: ProgramTask) -> None:
    """If this changes, models pretrained without the old pools may have seen the new ones."""
    assert (len(pools.train), len(pools.held_out)) == (2048, 1024)
    assert pools.digest == "42c290d7ba8a9bf5"
    assert not set(pools.by_key) & {p.key for p in pools.held_out}


def test_they_are_the_word_problems_of_gsm_symbolic_asked_for_a_program(pools: ProgramTask) -> None:
    words = GsmSymbolic().load()
    for ours, theirs in zip(pools.train, words.train, strict=True):
        assert ours.text == theirs.text.removesuffix("Answer:\n") + "Program:\n"
        assert ours.answer == theirs.answer
        assert ours.key != theirs.key


def test_no_problem_of_the_default_templates_is_without_a_program() -> None:
    drawn = [p.text for p in islice(word_problems(SHORTEST_TEMPLATES, Random(0)), 600)]
    worked = [p.text for p, _ in islice(worked_problems(SHORTEST_TEMPLATES, Random(0)), 600)]
    assert [t.replace("\nProgram:", "\nAnswer:") for t in worked] == drawn


def test_every_oracle_program_of_a_sample_runs_and_is_right(pools: ProgramTask) -> None:
    sample = Random(0).sample((*pools.train, *pools.held_out), 240)
    right = [(p, pools.write(p.solution, p.answer)) for p in sample]
    assert pools.rewards(right) == [1.0] * len(sample)
    assert pools.answers_anywhere(right) == [True] * len(sample)
    spoiled = [(p, pools.spoil(p, text, Random(p.key))) for p, text in right]
    assert pools.rewards(spoiled) == [0.0] * len(sample)


@pytest.mark.parametrize(
    ("program", "answer", "reward"),
    [
        ("print(6 * 9)", "54", 1.0),
        ("print(54.0)", "54", 1.0),
        ("print(str(6 * 9) + ' cows')", "54", 1.0),
        ("print(1)\nprint(54)\n\n", "54", 1.0),
        ("print(54)\nprint()", "54", 1.0),
        ("print(54)\nprint(1)", "54", 0.0),
        ("print(54, 55)", "54", 0.0),
        ("print(54)\nraise SystemExit(3)", "55", 0.0),
        ("print(54)\n1 / 0", "54", 0.0),
        ("x = 54", "54", 0.0),
        ("print(", "54", 0.0),
        ("", "54", 0.0),
        ("print('nan')", "54", 0.0),
        ("print(54)\nexit()", "54", 1.0),
        ("print(54)\nquit()\nprint(55)", "54", 1.0),
        ("import sys\nprint(54)\nsys.exit(0)", "54", 1.0),
        ("print(54)\nexit(1)", "54", 0.0),
        ("print(54)\nexit('done')", "54", 0.0),
        ("if __name__ == '__main__':\n    print(54)", "54", 1.0),
        ("from nowhere import addition\nprint(addition(50, 4))", "54", 0.0),
        ("print(prompt.answer)", "54", 0.0),
    ],
)
def test_the_last_printed_line_of_a_finished_run_is_the_answer(
    task: ProgramTask, program: str, answer: str, reward: float
) -> None:
    assert task.reward(with_answer(answer), write_code(program)) == reward


@pytest.mark.parametrize(
    ("expression", "answer", "reward"),
    [
        ("0.57 * 100", "57", 1.0),
        ("'$', 0.57 * 100", "57", 1.0),
        ("f'{0.57 * 100} dollars'", "57", 1.0),
        ("-0.57 * 100", "-57", 1.0),
        ("0.1 + 0.2", "0.3", 1.0),
        ("sum([0.1] * 1000)", "100", 1.0),
        ("1000.1 - 1000", "0.1", 1.0),
        ("0.3 - 0.1 * 3", "0", 1.0),  # 5.551115123125783e-17
        ("2 / 3", "2/3", 1.0),
        ("0.00005", "0.00005", 1.0),  # 5e-05
        ("10.0 ** 16", "10000000000000000", 1.0),  # 1e+16
        ("56.9", "57", 0.0),
        ("56.99999999999", "57", 0.0),  # digits that somebody chose
        ("round(2 / 3, 2)", "2/3", 0.0),
        ("57 + 1e-6 / 3", "57", 0.0),
        ("57.1 + 0.1 + 0.1", "57", 0.0),
        ("10**17 + 1", "100000000000000000", 0.0),
        ("10**20 + 1", "100000000000000000000", 0.0),
        ("'56.99999999999999123'", "57", 0.0),  # no float is printed so
        ("'5e3'", "5000", 0.0),
        ("0.57 * 100, 57", "57", 0.0),
        ("1e400", "57", 0.0),
        ("1e300", "57", 0.0),
        ("complex(0.57 * 100)", "57", 0.0),
    ],
)
def test_a_float_with_all_its_digits_is_compared_as_one(
    task: ProgramTask, expression: str, answer: str, reward: float
) -> None:
    assert task.reward(with_answer(answer), write_code(f"print({expression})")) == reward


SLEEPER = "import time\nprint(54)\ntime.sleep(60 + {})"


def test_a_sender_whose_programs_sleep_uses_up_its_own_time_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sandbox = SandboxSettings(workers=1, wall_seconds=3.0, sender_seconds=5.0)
    task = GsmPython(train=8, held_out=4, sandbox=sandbox).load()
    prompt = with_answer("54")
    slow = [("slow\x1b[2J", SLEEPER.format(n)) for n in range(4)]
    quick = [("quick", f"print(54)  # {n}") for n in range(4)]
    late = [("slow\x1b[2J", "print(54)  # mine"), ("slow\x1b[2J", "print(54)  # 0")]
    sent = [*slow, *quick, *late]
    pairs = [(prompt, write_code(program)) for _, program in sent]
    senders = [sender for sender, _ in sent]

    wanted = [0.0] * 4 + [1.0] * 4 + [0.0, 1.0]  # what another sent, too, runs on that one's time
    assert task.rewards_by_sender(pairs, senders) == wanted
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith("4 of the 6 programs that 'slow\\x1b[2J' sent were not run and earn 0")
    assert "sandbox.sender_seconds = 5" in said

    caplog.clear()  # a second node of a simulation: the same, without running anything again
    assert task.rewards_by_sender(pairs, senders) == wanted
    assert not caplog.records

    mine = [(prompt, write_code("print(54)  # mine"))]
    assert task.rewards_by_sender(mine, ["slow\x1b[2J"]) == [1.0]  # in the next round
    assert task.rewards([(prompt, write_code("print(54)  # own"))]) == [1.0]


def test_a_task_with_rewards_of_its_own_is_asked_for_them_by_sender_too(
    task: ProgramTask,
) -> None:
    class Half(ProgramTask):
        def rewards(self, pairs: Sequence[tuple[Prompt, str]]) -> list[float]:
            return [one / 2 for one in super().rewards(pairs)]

    half = Half("half", task.train, task.held_out, sandbox=task.sandbox)
    pairs = [(with_answer("54"), write_code("print(54)")), (with_answer("54"), "print(54)")]
    assert half.rewards_by_sender(pairs, ["a", "b"]) == [0.5, 0.0]


def test_the_bound_on_a_senders_time_leaves_digests_as_they_were() -> None:
    usual, other = GsmPython(), GsmPython(sandbox=SandboxSettings(sender_seconds=61))
    assert "sender_seconds" not in usual.settings()["sandbox"]
    assert other.settings()["sandbox"]["sender_seconds"] == 61
    assert GsmPython(sandbox=other.settings()["sandbox"]).sandbox == other.sandbox


def test_a_right_program_outside_the_asked_form_is_right_anywhere_only(task: ProgramTask) -> None:
    prompt = with_answer("54")
    for text in ("```python\nprint(54)\n```", "print(54)", "<code>\nprint(54)", "Well,\nprint(54)"):
        assert task.reward(prompt, text) == 0.0
        assert task.answer_anywhere(prompt, text) is (not text.startswith("Well"))
    assert not task.answer_anywhere(prompt, "54")
    assert not task.answer_anywhere(prompt, "The answer is 54.")


def test_a_program_without_end_is_only_wrong(task: ProgramTask) -> None:
    short = task.sandbox.model_copy(update={"cpu_seconds": 1, "wall_seconds": 1.5})
    quick = GsmPython(train=8, held_out=4, sandbox=short).load()
    texts = [write_code("print(54)\nwhile True: pass"), write_code("print(54)")]
    assert quick.rewards([(with_answer("54"), text) for text in texts]) == [0.0, 1.0]


def test_what_a_program_prints_is_read_without_knowing_the_answer(task: ProgramTask) -> None:
    texts = ["print(54)", "```\nprint('54 cows')\n```", "print('no')", "54", "", "<code>1/0</code>"]
    assert task.read(texts) == [
        ("print(54)", "54"),
        ("print('54 cows')", "54 cows"),
        None,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    "program",
    [
        "a = 50\nprint(a + 4)",
        "print(round(54.0, 2))",
        "print(54 if True else 3)",
        "print('54 cows')",
        "print(54, end='')",
        "def f():\n    print(54)\nf()",
        "for i in (1, 54):\n    print(i)",
    ],
)
def test_a_spoiled_program_still_looks_like_it_and_is_wrong(
    task: ProgramTask, program: str
) -> None:
    prompt, right = with_answer("54"), write_code(program)
    assert task.reward(prompt, right) == 1.0
    spoiled = task.spoil(prompt, right, Random(0))
    assert task.reward(prompt, spoiled) == 0.0
    assert spoiled.startswith(right[: len("<code>\n") + program.rfind("print")])


def test_programs_import_the_libraries_that_the_task_offers(tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text("PRICE = 9\n")
    offered = {"libraries": [{"file": str(file)}, {"name": "calc", "source": CALC.source}]}
    settings = GsmPython(train=8, held_out=4, **offered)
    task = settings.load()
    program = "import shop\nfrom calc import addition\nprint(addition(45, shop.PRICE))"
    assert task.reward(with_answer("54"), write_code(program)) == 1.0
    file.unlink()  # the experiment holds the source itself
    assert GsmPython(**{k: v for k, v in settings.settings().items() if k != "name"}) == settings


def test_a_library_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match=r"nowhere\.py cannot be read"):
        OfferedLibrary.model_validate({"file": "nowhere.py"})


@pytest.mark.parametrize(
    ("library", "problem"),
    [
        ({"name": "math", "source": ""}, "standard library"),
        ({"name": "class", "source": ""}, "can import"),
        ({"name": "__main__", "source": ""}, "can import"),
        ({"name": "calc", "source": "def f(: pass"}, "not Python"),
    ],
)
def test_a_library_that_no_program_can_use_is_refused(
    library: dict[str, str], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        OfferedLibrary.model_validate(library)


def test_a_library_is_added_once_and_never_replaces_another(task: ProgramTask) -> None:
    prompt, text = with_answer("54"), write_code("import calc\nprint(calc.addition(50, 4))")
    assert task.reward(prompt, text) == 0.0
    offering = task.with_libraries([CALC]).with_libraries([CALC])
    assert offering.libraries == (CALC,)
    assert offering.reward(prompt, text) == 1.0  # the outcome without the library is forgotten
    assert task.reward(prompt, text) == 0.0
    with pytest.raises(DgrpoError, match="two different libraries are called 'calc'"):
        offering.with_libraries([Library("calc", "")])


def test_a_task_that_runs_no_programs_says_so_when_an_attack_brings_a_library() -> None:
    words: LoadedTask = GsmSymbolic(train=8, held_out=4).load()
    assert words.with_libraries([]) is words
    with pytest.raises(DgrpoError, match=r"runs no programs(.|\n)*calc(.|\n)*gsm-python"):
        words.with_libraries([CALC])


def test_a_program_is_executed_once_for_all_nodes() -> None:
    """Random numbers from the system differ from run to run; the kept outcome does not."""
    task = GsmPython(train=8, held_out=4).load()
    program = "import random\nprint(random.SystemRandom().random())"
    first, again = task.outcomes([program, program]), task.outcomes([program])
    assert first[0] is first[1] is again[0]
    assert first[0].status == "finished"


@pytest.mark.parametrize(
    "line", ["complex(0, 54)", "'54_000'", "'54½'", "'minus 54'", "'54j'", "'x' * 300 + ' 54'"]
)
def test_what_only_holds_the_number_is_not_the_number(task: ProgramTask, line: str) -> None:
    assert task.reward(with_answer("54"), write_code(f"print({line})")) == 0.0


def test_of_what_a_program_prints_the_last_line_is_kept(task: ProgramTask) -> None:
    printed = "print('\U0001f600' + 'x' * 60_000)\nprint(54)"
    [outcome] = task.outcomes([printed])
    assert outcome.printed == "54"
    assert task.reward(with_answer("54"), write_code(printed)) == 1.0
    [outcome] = task.outcomes(["print('x' * 60_000)"])
    assert outcome.printed == ""


def test_kept_outcomes_are_bounded() -> None:
    task = GsmPython(train=8, held_out=4).load()
    [outcome] = task.outcomes(["print(1)"])
    task._kept.update({f"# {i}": outcome for i in range(KEPT_OUTCOMES)})
    assert len(task.outcomes(["print(2)", "print(1)"])) == 2
    assert len(task._kept) == KEPT_OUTCOMES


def test_templates_without_a_program_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DgrpoError, match=r"task\.templates has 12345"):
        GsmPython(templates=(4, 12345)).load()
    monkeypatch.setattr("dgrpo.tasks.gsm_python.working_of", lambda trace, answer: None)
    with pytest.raises(DgrpoError, match="can be answered by a program"):
        GsmPython(templates=(4,)).load()
