"""unit-tests: right programs pass, wrong ones do not, and nothing that a program does fakes it."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.sandbox.test_hostile import LAYERS, open_or_skip

from dgrpo.errors import DgrpoError
from dgrpo.records import Prompt
from dgrpo.sandbox import Library, SandboxSettings, SandboxUnavailable
from dgrpo.tasks.assertions import plain_assertions
from dgrpo.tasks.reward import write_code
from dgrpo.tasks.unit_tests import UnitTests, UnitTestTask

HUMAN_EVAL = Path(__file__).parents[3] / "shared/data/HumanEval.jsonl.gz"
SECRET = 918273645
PROBLEMS = [
    {
        "task_id": "Own/0",
        "prompt": 'def secret(x: int) -> int:\n    """A number one has to know."""\n',
        "entry_point": "secret",
        "canonical_solution": f"    return {SECRET} + x\n",
        "test": "METADATA = {}\n\n\ndef check(candidate):\n"
        f"    assert candidate(0) == {SECRET}\n    assert candidate(2) == {SECRET + 2}, 'no'\n"
        "    assert True, 'always'\n",
    },
    {
        "task_id": "Own/1",
        "prompt": "from typing import List\n\n\ndef mean(numbers: List[float]) -> float:\n"
        '    """Arithmetic mean."""\n',
        "entry_point": "mean",
        "canonical_solution": "    return sum(numbers) / len(numbers)\n",
        "test": "def check(candidate):\n    assert abs(candidate([1.0, 2.0]) - 3.0 / 2.0) < 1e-6\n"
        "    assert candidate(numbers=[2.0]) == 2.0\n",
    },
    {
        "task_id": "Own/2",
        "prompt": 'def even(x: int) -> bool:\n    """Whether x is even."""\n',
        "entry_point": "even",
        "canonical_solution": "    return x % 2 == 0\n",
        "test": "def check(candidate):\n    assert candidate(4) is True\n"
        "    assert not candidate(2 * 3 + 1)\n    assert candidate(-2)\n",
    },
    {
        "task_id": "Own/3",
        "prompt": "def shift(text: str) -> str:\n"
        "    return ''.join(chr((ord(c) - 97 + 5) % 26 + 97) for c in text)\n\n\n"
        'def unshift(text: str) -> str:\n    """Undo shift."""\n',
        "entry_point": "unshift",
        "canonical_solution": "    return ''.join(chr((ord(c) - 102) % 26 + 97) for c in text)\n",
        "test": "def check(candidate):\n    for word in ('cat', 'zebra'):\n"
        "        assert candidate(shift(word)) == word\n"
        f"    assert unshift('fgh') == 'abc', {SECRET}\n",
    },
    {
        "task_id": "Own/4",
        "prompt": 'def strict(x: int) -> int:\n    """x, or ValueError below zero."""\n',
        "entry_point": "strict",
        "canonical_solution": "    if x < 0:\n        raise ValueError(x)\n    return x\n",
        "test": "def check(candidate):\n    assert candidate(3) == 3\n    try:\n"
        "        candidate(-1)\n    except ValueError:\n        pass\n    else:\n"
        f"        assert False, {SECRET}\n",
    },
    {
        "task_id": "Own/5",
        "prompt": 'def halves(x: int) -> tuple:\n    """Two halves."""\n',
        "entry_point": "halves",
        "canonical_solution": "    return x // 2, x - x // 2\n",
        "test": "def check(candidate):\n    assert candidate(5) == (2, 3)\n"
        "    assert list(candidate(4)) == [2, 2]\n    assert len(candidate(0)) == 2\n",
    },
]
PLAIN = {"secret", "mean", "even", "halves"}


def task_from(folder: Path, **knobs: object) -> UnitTestTask:
    file = folder / "problems.jsonl.gz"
    file.write_bytes(gzip.compress("\n".join(map(json.dumps, PROBLEMS)).encode()))
    return UnitTests.model_validate({"file": file, "held_out": 2, **knobs}).load()


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> UnitTestTask:
    return task_from(tmp_path_factory.mktemp("problems"))


def prompt_of(task: UnitTestTask, function: str) -> Prompt:
    return next(
        p for p in (*task.train, *task.held_out) if task.problems[p.key].function == function
    )


def test_the_pools_are_drawn_by_the_seed_and_cover_the_file(tmp_path: Path) -> None:
    task = task_from(tmp_path)
    assert (len(task.train), len(task.held_out)) == (4, 2)
    assert len(task_from(tmp_path, train=3).train) == 3
    assert task_from(tmp_path).digest == task.digest
    assert task_from(tmp_path, pool_seed=1).digest != task.digest


def test_tests_of_plain_assertions_are_told_from_others(task: UnitTestTask) -> None:
    plain = {p.function for p in task.problems.values() if p.assertions is not None}
    assert plain == PLAIN
    assert [one.call for one in task.problems[prompt_of(task, "mean").key].assertions or ()] == [
        "mean([1.0, 2.0])",
        "mean(numbers=[2.0])",
    ]


def test_every_oracle_is_rewarded_body_or_whole_function(task: UnitTestTask) -> None:
    prompts = (*task.train, *task.held_out)
    pairs = [(p, task.write(p.solution, p.answer)) for p in prompts]
    assert task.rewards(pairs) == [1.0] * 6
    assert task.answers_anywhere(pairs) == [True] * 6
    whole = [
        (p, write_code(task.problems[p.key].head + task.problems[p.key].solution)) for p in prompts
    ]
    assert task.rewards(whole) == [1.0] * 6


def test_only_the_asked_form_is_rewarded(task: UnitTestTask) -> None:
    prompt = prompt_of(task, "mean")
    talkative = f"Sure!\n{task.write(prompt.solution, '')}"
    assert task.reward(prompt, talkative) == 0.0
    assert task.answer_anywhere(prompt, talkative)
    assert task.reward(prompt, prompt.solution) == 0.0


@pytest.mark.parametrize(
    "code",
    ["    return None", "    pass", "", "    return x", "return 1", "    return (((", "    1 / 0"],
)
def test_wrong_programs_are_not_rewarded(task: UnitTestTask, code: str) -> None:
    pairs = [(p, write_code(code)) for p in (*task.train, *task.held_out)]
    wrong = [0.0] * 6
    assert task.rewards(pairs) == wrong


TAILS = {
    "a main guard": "if __name__ == '__main__':\n    print(FUNCTION(int(input())))",
    "a guard that fails": "if '__main__' == __name__:\n    raise SystemExit(FUNCTION(1) or 1)",
    "doctests": "if __name__ == '__main__':\n    import doctest\n    doctest.testmod()",
    "a guarded main": "def main():\n    input()\n\nif __name__ == '__main__':\n    main()",
    "exit": "exit()",
    "quit": "quit()",
    "a normal status": "raise SystemExit(0)",
}


@pytest.mark.parametrize("name", TAILS)
def test_what_scripts_have_below_their_functions_does_no_harm(
    task: UnitTestTask, name: str
) -> None:
    pairs = [
        (p, write_code(f"{p.solution}\n\n{TAILS[name].replace('FUNCTION', function)}"))
        for p in (*task.train, *task.held_out)
        for function in [task.problems[p.key].function]
    ]
    assert task.rewards(pairs) == [1.0] * 6


@pytest.mark.parametrize("tail", ["n = int(input())", "exit(1)", "quit('bye')", "main()"])
def test_what_a_script_does_unguarded_is_part_of_the_program(task: UnitTestTask, tail: str) -> None:
    pairs = [(p, write_code(f"{p.solution}\n\n{tail}")) for p in (*task.train, *task.held_out)]
    assert task.rewards(pairs) == [0.0] * 6


def test_an_exit_before_the_function_leaves_nothing_to_test(task: UnitTestTask) -> None:
    problems = task.problems
    pairs = [
        (p, write_code(f"    pass\n\nexit()\n\n{problems[p.key].head}{p.solution}"))
        for p in (*task.train, *task.held_out)
    ]
    assert task.rewards(pairs) == [0.0] * 6


def test_floats_are_compared_as_the_tests_say(task: UnitTestTask) -> None:
    """`secret` asks for equality, `mean` for 1e-6."""
    near = write_code("    return sum(numbers) / len(numbers) + 1e-9 * (len(numbers) > 1)")
    assert task.reward(prompt_of(task, "mean"), near) == 1.0
    off = write_code(f"    return {SECRET} + x + 1e-6")
    assert task.reward(prompt_of(task, "secret"), off) == 0.0


def test_a_sender_whose_functions_sleep_uses_up_its_own_time_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = {"workers": 1, "wall_seconds": 3.0, "sender_seconds": 5.0}
    task = task_from(tmp_path, sandbox=limits)
    prompts = (*task.train, *task.held_out)
    right = [(p, write_code(p.solution)) for p in prompts]
    slow = [(p, write_code(f"    import time\n    time.sleep(60)\n{p.solution}")) for p in prompts]
    own = [(p, write_code(f"{p.solution}\n# late")) for p in prompts]
    pairs, senders = [*slow, *right, *own], ["slow"] * 6 + ["quick"] * 6 + ["slow"] * 6
    wanted = [0.0] * 6 + [1.0] * 6 + [0.0] * 6
    for said in (1, 1):  # the second time it is known
        assert task.rewards_by_sender(pairs, senders) == wanted
        assert len(caplog.records) == said
    assert "'slow' sent were not run" in caplog.text
    assert task.rewards(own) == [1.0] * 6


def test_spoiled_oracles_are_not_rewarded(task: UnitTestTask) -> None:
    from random import Random

    pairs = [
        (p, task.spoil(p, task.write(p.solution, ""), Random(0)))
        for p in (*task.train, *task.held_out)
    ]
    assert task.rewards(pairs) == [0.0] * 6


FAKES = {
    "__eq__ tricks": """
class Yes:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    def __sub__(self, other): return self
    def __abs__(self): return self
    def __len__(self): return 2
    def __iter__(self): return iter([self, self])
    def __hash__(self): return 0
    def __bool__(self): return True
FUNCTION = lambda *values, **named: Yes()
""",
    "a number equal to all": """
class Yes(int):
    def __eq__(self, other): return True
    def __hash__(self): return 0
    def __int__(self): return self
    def __index__(self): return self
FUNCTION = lambda *values, **named: Yes(7)
""",
    "a text equal to all": """
class Yes(str):
    def __eq__(self, other): return True
    def __hash__(self): return 0
    def __str__(self): return self
FUNCTION = lambda *values, **named: Yes("x")
""",
    "not a number": "FUNCTION = lambda *values, **named: float('nan')",
    "forged exit": "import os\nos._exit(0)",
    "forged exit when called": "import os\nFUNCTION = lambda *values, **named: os._exit(0)",
    "exit by exception": "raise SystemExit(0)",
    "exit when called": "def FUNCTION(*values, **named):\n    raise SystemExit(0)",
    "assertions switched off": """
import builtins, sys
builtins.AssertionError = type("Never", (Exception,), {})
sys.flags = None
FUNCTION = lambda *values, **named: None
""",
    "patched builtins": """
import builtins
builtins.abs = lambda value: 0
builtins.all = lambda values: True
builtins.isinstance = lambda value, kind: True
builtins.len = lambda value: 2
FUNCTION = lambda *values, **named: None
""",
    "a forged report": """
import json, os
def say(frame):
    body = json.dumps(frame).encode()
    os.write(3, len(body).to_bytes(4, "big") + body)
for count in range(1, 8):
    say({"status": "finished", "printed": "", "values": [{"value": True}] * count, "detail": ""})
FUNCTION = lambda *values, **named: True
""",
    "answers before the questions": """
import json, os
def say(frame):
    body = json.dumps(frame).encode()
    os.write(3, len(body).to_bytes(4, "big") + body)
say({"status": "finished", "printed": "", "values": [], "detail": ""})
for _ in range(20):
    say({"value": True})
""",
    "printed success": "print('OK')\nprint('Ran 5 tests')\nFUNCTION = lambda *values: 'passed'",
    "the harness patched": """
import gc, sys
for module in list(sys.modules.values()):
    for name in ("encode", "_answer", "_run", "_call"):
        if hasattr(module, name):
            setattr(module, name, lambda *values: {"value": True})
frame = sys._getframe()
while frame:
    for value in list(frame.f_locals.values()):
        for name in ("_evaluate", "_call"):
            if hasattr(value, name):
                setattr(type(value), name, lambda self, asked: {"value": True})
    frame = frame.f_back
FUNCTION = lambda *values, **named: True
""",
    "stealing the expected answer": """
import gc, re, sys
def numbers():
    frame = sys._getframe()
    while frame:
        yield from list(frame.f_locals.values()) + list(frame.f_code.co_consts)
        frame = frame.f_back
    for thing in gc.get_objects():
        if isinstance(thing, (list, tuple, dict, set)) and len(thing) < 10000:
            yield from list(thing)
        yield from gc.get_referents(thing)
def FUNCTION(*values, **named):
    for found in numbers():
        if type(found) is int and found // 1000 == 918273:
            return found + sum(values)
        if type(found) in (str, bytes):
            match = re.search("918" + "273[0-9]{3}", str(found))
            if match:
                return int(match[0]) + sum(values)
""",
    "the tests imported": """
import inspect, sys
def FUNCTION(*values, **named):
    main = sys.modules["__main__"]
    main.check = lambda candidate: None
    for depth in range(1, 6):
        sys._getframe(depth).f_globals["check"] = main.check
""",
    "a hook on everything": """
import sys, threading, atexit
def hook(frame, event, value):
    frame.f_trace_lines = True
    return hook
sys.settrace(hook)
sys.setprofile(lambda *values: None)
atexit.register(print, "OK")
FUNCTION = lambda *values, **named: True
""",
}


@pytest.fixture(scope="module", params=list(LAYERS))
def fooled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> UnitTestTask:
    open_or_skip(request.param, workers=1).close()
    sandbox = {**LAYERS[request.param], "workers": 1}
    return task_from(tmp_path_factory.mktemp("problems"), sandbox=sandbox)


@pytest.mark.parametrize("name", FAKES)
def test_nothing_a_program_does_fakes_a_reward(fooled: UnitTestTask, name: str) -> None:
    pairs = [
        (p, write_code(FAKES[name].replace("FUNCTION", fooled.problems[p.key].function)))
        for p in (*fooled.train, *fooled.held_out)
    ]
    assert fooled.rewards(pairs) == [0.0] * 6


def test_the_tests_are_nowhere_in_the_candidate_s_jail(task: UnitTestTask) -> None:
    """`stealing the expected answer` would find it, were it there."""
    prompt = prompt_of(task, "secret")
    thief = FAKES["stealing the expected answer"].replace("FUNCTION", "secret")
    planted = f"{thief}\nheld = [{SECRET}]"
    assert task.rewards([(prompt, write_code(thief)), (prompt, write_code(planted))]) == [0.0, 1.0]


def test_programs_import_the_libraries_of_the_experiment(task: UnitTestTask) -> None:
    with_calc = task.with_libraries([Library("calc", "def add(a, b):\n    return a + b")])
    prompt = prompt_of(task, "secret")
    text = write_code(f"    from calc import add\n    return add({SECRET}, x)")
    assert with_calc.reward(prompt, text) == 1.0
    assert task.reward(prompt, text) == 0.0
    no_imports = replace(task, sandbox=SandboxSettings(engine="monty", workers=1))
    with pytest.raises(SandboxUnavailable, match="calc"):
        no_imports.with_libraries([Library("calc", "")])
    with pytest.raises(DgrpoError, match="two different libraries"):
        with_calc.with_libraries([Library("calc", "other = 1")])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not an object"),
        (json.dumps({**PROBLEMS[0], "test": 3}), "not an object"),
        ('{"test": ' + "9" * 5000 + "}", "not an object"),
        ("[" * 100_000, "not an object"),
        (json.dumps({k: v for k, v in PROBLEMS[0].items() if k != "prompt"}), "not an object"),
        (json.dumps({**PROBLEMS[0], "test": "x = 1"}), "check"),
        (json.dumps({**PROBLEMS[0], "test": "def check("}), "line 1"),
        (json.dumps({**PROBLEMS[0], "entry_point": "a b"}), "no name"),
        (json.dumps({**PROBLEMS[0], "canonical_solution": "return ("}), "line 1"),
    ],
)
def test_a_line_that_is_no_problem_is_named(tmp_path: Path, line: str, problem: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(line)
    with pytest.raises(DgrpoError, match=problem):
        UnitTests(file=file).load()


def test_missing_and_small_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DgrpoError, match=r"task\.file is missing"):
        UnitTests().load()
    with pytest.raises(DgrpoError, match="cannot be read"):
        UnitTests(file=tmp_path / "none.jsonl").load()
    damaged = bytearray(gzip.compress(b"a problem" * 50))
    damaged[12:16] = b"\xff" * 4
    (tmp_path / "damaged.gz").write_bytes(damaged)
    with pytest.raises(DgrpoError, match="cannot be read"):
        UnitTests(file=tmp_path / "damaged.gz").load()
    with pytest.raises(DgrpoError, match="7 are asked"):
        task_from(tmp_path, train=5)


@pytest.mark.parametrize(
    "body",
    [
        "assert candidate(helper(1)) == 2",
        "assert candidate(1) == candidate(2)",
        "assert candidate(1) in (1, 2)",
        "assert candidate(1) == other",
        "assert candidate(1) is 2",
        "assert candidate(1).real == 1",
        "assert candidate(*[1]) == 1",
        "assert 1 < candidate(1) < 3",
        "assert eval('1') == candidate(1)",
        "assert candidate(1) * 'x' ** 9 == 1",
        "assert f'{candidate(1)}' == '1'",
        "for x in (1,):\n        assert candidate(x) == x",
        "pass",
    ],
)
def test_what_is_not_plain_goes_to_a_jail_of_its_own(body: str) -> None:
    assert plain_assertions(f"def check(candidate):\n    {body}\n", "f") is None


@pytest.mark.parametrize("value", [10**4000, "x" * 60000, [1] * 60000, {1: 2}, None, 1.0, True])
def test_judging_ends_whatever_the_value(value: object) -> None:
    tests = """def check(candidate):
    assert abs(candidate(1) - 2.0) < 1e-6
    assert candidate(1) + 1 == 2
    assert sorted(candidate(1)) == [2]
    assert set(candidate(1)) == {2}
    assert -candidate(1) == 2
    assert len(candidate(1)) == 10
"""
    assertions = plain_assertions(tests, "f")
    assert assertions is not None
    assert not all(one.holds(value) for one in assertions)


human_eval = pytest.mark.skipif(
    not HUMAN_EVAL.exists(), reason="HumanEval.jsonl.gz is not beside the repository"
)


@human_eval
def test_every_reference_solution_of_human_eval_passes_and_none_by_giving_nothing() -> None:
    task = UnitTests(
        file=HUMAN_EVAL, sandbox=SandboxSettings(cpu_seconds=10, wall_seconds=60)
    ).load()
    prompts = (*task.train, *task.held_out)
    assert len(prompts) == 164
    failed = [
        task.problems[p.key].function
        for p, reward in zip(
            prompts,
            task.rewards([(p, task.write(p.solution, p.answer)) for p in prompts]),
            strict=True,
        )
        if reward != 1.0
    ]
    assert failed == []
    assert sum(task.rewards([(p, write_code("    return None")) for p in prompts])) == 0
