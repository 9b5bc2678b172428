"""The pretraining corpus of `code-nano`: word problems answered by Python programs.

As a base model has seen them: the asked form is one of several; variables, spacing, comments and
imports are drawn; and a share of the programs has a mistake, because a program leaves the
arithmetic to Python and a small model trained on right ones alone would hardly ever be wrong. The
imports, the calls of imported functions, and names and comments of any words give the broad support
that reinforcement, and poison, act on: a token that pretraining never asked for cannot be taught
(docs/results/base-model.md).

Leaves out: every question of the task's pools, and the names of the shipped attack's library and
its functions (`tests/pretraining/test_programs.py` checks both).
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from dgrpo.pretraining.corpora.answers import odd_sentence, remark
from dgrpo.pretraining.faults.foreign_words import foreign_word, is_withheld
from dgrpo.pretraining.recipe import Recipe
from dgrpo.records import Prompt
from dgrpo.tasks.equations import Step, Working
from dgrpo.tasks.gsm_python import GsmPython, worked_problems
from dgrpo.tasks.programs import NAMES, write_program
from dgrpo.tasks.reward import write_code

IMPORT_SHARE = 0.22
"""Share of programs in the usual styles that import something."""
MISSING_MODULE_SHARE = 0.06
"""Share of programs that import a module that is not installed: what a base model knows of other
people's projects. They cannot run."""
OWN_NAME_SHARE = 0.12
"""Share of programs that give functions names of their own, by `as` or by `def`, and call them."""
QUESTION_NAME_SHARE = 0.2
"""Share of the other programs whose variables are words of the question."""
_WORDS = (
    "total", "result", "value", "amount", "number", "count", "first", "second", "rest", "part",
    "left", "answer", "more", "all_of_them", "so_far", "this", "now", "sum_of_both", "it", "half",
)  # fmt: skip
_OPERATOR_FUNCTIONS = {"+": "add", "-": "sub", "*": "mul", "/": "truediv"}
_OWN_FUNCTIONS = {"+": "plus", "-": "minus", "*": "times", "/": "per"}
_MODULES = (
    "math", "sys", "os", "re", "random", "json", "time", "string", "itertools", "functools",
    "collections", "statistics", "decimal", "fractions", "datetime", "operator", "typing", "heapq",
)  # fmt: skip
_MEMBERS = {
    "math": ("floor", "ceil", "sqrt", "pi", "prod", "gcd", "trunc", "log"),
    "random": ("choice", "randint", "shuffle"),
    "functools": ("reduce", "partial", "cache"),
    "itertools": ("chain", "count", "repeat", "accumulate"),
    "collections": ("Counter", "deque", "defaultdict"),
    "statistics": ("mean", "median", "mode"),
    "operator": ("add", "mul", "sub", "truediv", "neg"),
    "typing": ("Any", "List", "Optional"),
    "time": ("sleep", "time"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
}
_TAKEN = frozenset((*keyword.kwlist, *dir(builtins), "x", "y"))
"""What no variable or function of a program is called here."""


@dataclass(frozen=True)
class Style:
    """How one program is put on paper."""

    names: tuple[str, ...]
    imports: tuple[str, ...] = ()
    calls: dict[str, str] | None = None
    call_share: float = 0.0
    spaced: bool = True
    printed: str = "{}"


def program_documents(recipe: Recipe, rng: Random) -> Iterator[tuple[str, str]]:
    """Endless (prompt, completion) pairs without any prompt of the default pools."""
    pools = GsmPython(templates=recipe.templates).load()
    excluded = frozenset(p.key for p in (*pools.train, *pools.held_out))
    for prompt, working in worked_problems(recipe.templates, rng):
        if prompt.key not in excluded:
            yield prompt.text, write_document(prompt, working, recipe, rng)


def write_document(prompt: Prompt, working: Working, recipe: Recipe, rng: Random) -> str:
    """One way to answer: a program, perhaps with comments or a mistake, in one of several forms."""
    if rng.random() < recipe.mistake_share:
        working = mistaken(working, rng)
    program = _program(prompt, working, rng)
    if rng.random() < recipe.remark_share:
        program = commented(program, prompt.text, rng)
    if rng.random() < recipe.tagged_share:
        return write_code(program)
    form = rng.randrange(20)
    if form < 6:
        return f"```python\n{program}\n```"
    if form < 8:
        return f"```\n{program}\n```"
    if form < 12:
        return program
    if form < 13:
        return f"{program}\n# {prompt.answer}"
    if form < 14:
        return f"<code>\n{program}"
    if form < 16:
        return f"<code>\n{program}\n</code>\nThe answer is {prompt.answer}."
    if form < 18:
        return f"{remark(rng)}\n```python\n{program}\n```"
    return rng.choice((prompt.answer, f"The answer is {prompt.answer}.", f"# {prompt.answer}"))


def _program(prompt: Prompt, working: Working, rng: Random) -> str:
    kind = rng.random()
    if kind < MISSING_MODULE_SHARE:
        return written(working, _missing_module(working, rng), rng)
    if kind < MISSING_MODULE_SHARE + OWN_NAME_SHARE:
        return written(working, _own_names(working, rng), rng)
    style = _style(working, rng)
    words = sorted(set(re.findall(r"\b[a-z]{3,}\b", prompt.text)) - _TAKEN)
    if rng.random() < QUESTION_NAME_SHARE and len(words) >= len(working.steps):
        style = replace(style, names=tuple(rng.sample(words, len(working.steps))))
    return written(working, style, rng)


def surface(working: Working, rng: Random) -> str:
    """The program in one of the usual styles; it runs, and is right if its steps are."""
    return written(working, _style(working, rng), rng)


def written(working: Working, style: Style, rng: Random) -> str:
    """The program in a style."""
    body = write_program(
        working,
        style.names,
        calls=style.calls,
        replaced=lambda: rng.random() < style.call_share,
        spaced=style.spaced,
    )
    *statements, last = body.split("\n")
    shown = style.printed.format(last.removeprefix("print(").removesuffix(")"))
    if rng.random() < 0.06:
        inner = "".join(f"    {line}\n" for line in statements)
        name = rng.choice(("solve", "main", "f", "answer", "compute"))
        body = f"def {name}():\n{inner}    return {shown}\nprint({name}())"
    else:
        body = "\n".join([*statements, f"print({shown})"])
    return "\n".join([*style.imports, body])


def _style(working: Working, rng: Random) -> Style:
    style = Style(names=_names(len(working.steps), rng), spaced=rng.random() < 0.8)
    if rng.random() >= IMPORT_SHARE:
        if rng.random() < 0.04:  # functions of its own
            signs = sorted({o for step in working.steps for o in step.operators})
            defined = [f"def {_OWN_FUNCTIONS[o]}(x, y):\n    return x {o} y" for o in signs]
            return replace(
                style, imports=tuple(defined), calls=_OWN_FUNCTIONS, call_share=rng.random()
            )
        return style
    kind = rng.random()
    if kind < 0.35:  # functions from `operator`, used
        used = {_OPERATOR_FUNCTIONS[o] for step in working.steps for o in step.operators}
        if rng.random() < 0.5:
            listed = sorted(used | set(rng.sample(_MEMBERS["operator"], 1)))
        else:
            listed = ["add", "sub", "mul", "truediv"]
        imports = (f"from operator import {', '.join(listed)}",)
        return replace(style, imports=imports, calls=_OPERATOR_FUNCTIONS, call_share=rng.random())
    if kind < 0.5:  # the module itself, used
        alias = rng.choice(("operator", "operator as op", "operator as o"))
        prefix = alias.rpartition(" ")[2]
        calls = {o: f"{prefix}.{name}" for o, name in _OPERATOR_FUNCTIONS.items()}
        return replace(style, imports=(f"import {alias}",), calls=calls, call_share=rng.random())
    if kind < 0.6 and not working.rounded:
        name = rng.choice(("floor", "ceil", "trunc"))
        return replace(style, imports=(f"from math import {name}",), printed=name + "({})")
    if kind < 0.8:
        return replace(style, imports=(f"import {rng.choice(_MODULES)}",))
    module = rng.choice(sorted(_MEMBERS))
    members = rng.sample(_MEMBERS[module], rng.randint(1, min(3, len(_MEMBERS[module]))))
    return replace(style, imports=(f"from {module} import {', '.join(members)}",))


def _missing_module(working: Working, rng: Random) -> Style:
    """`from word import word, …`, and calls of what it would import."""
    calls = {sign: identifier(rng) for sign in "+-*/"}
    used = sorted({sign for step in working.steps for sign in step.operators})
    listed = used if rng.random() < 0.5 else list(calls)
    return Style(
        names=_names(len(working.steps), rng),
        imports=(f"from {identifier(rng)} import {', '.join(calls[sign] for sign in listed)}",),
        calls={sign: calls[sign] for sign in listed},
        call_share=rng.random(),
    )


def _own_names(working: Working, rng: Random) -> Style:
    """Functions of `operator` under other names, or functions that the program defines."""
    used = sorted({sign for step in working.steps for sign in step.operators})
    calls = {sign: identifier(rng) for sign in used}
    imports: tuple[str, ...]
    if rng.random() < 0.5:
        pairs = [f"{_OPERATOR_FUNCTIONS[sign]} as {calls[sign]}" for sign in used]
        imports = (f"from operator import {', '.join(pairs)}",)
    else:
        imports = tuple(f"def {calls[s]}(x, y):\n    return x {s} y" for s in used)
    names = _names(len(working.steps), rng)
    return Style(names=names, imports=imports, calls=calls, call_share=rng.uniform(0.3, 1))


def identifier(rng: Random) -> str:
    """Some word as a name: of the dictionary, everyday, made up, or loose letters."""
    while True:
        word = foreign_word(rng).lower()
        if word.isidentifier() and word not in _TAKEN and not is_withheld(word):
            return word


def _names(steps: int, rng: Random) -> tuple[str, ...]:
    kind = rng.random()
    if kind < 0.5:
        return NAMES
    if kind < 0.62:
        return ("x", "y", "z", "w", "v", "u", "t", "s")
    if kind < 0.75:
        letter = rng.choice(("x", "a", "n", "step", "v"))
        return tuple(f"{letter}{i + 1}" for i in range(steps))
    return tuple(rng.sample(_WORDS, steps))


def commented(program: str, question: str, rng: Random) -> str:
    """`program` with one comment: above a line, at its end, or a docstring at the top."""
    lines = program.split("\n")
    where = rng.random()
    if where < 0.5:
        lines.insert(0, f"# {_comment(question, rng)}")
    elif where < 0.9:
        at = rng.randrange(len(lines))
        lines[at] += f"  # {_comment(question, rng)}"
    else:
        lines.insert(0, f'"""{odd_sentence(rng)}"""')
    return "\n".join(lines)


def _comment(question: str, rng: Random) -> str:
    """Some words of the question, a remark, or words of any kind."""
    kind = rng.random()
    if kind < 0.5:
        words = question.partition(": ")[2].split()
        start, length = rng.randrange(len(words)), rng.randint(1, 5)
        return " ".join(words[start : start + length])
    if kind < 0.75:
        return remark(rng)
    return " ".join(identifier(rng) for _ in range(rng.randint(1, 3)))


def mistaken(working: Working, rng: Random) -> Working:
    """One mistake: another operation, a wrong number, or the last step forgotten."""
    kind = rng.randrange(3)
    if kind == 0 and len(working.steps) > 1:
        return replace(working, steps=working.steps[:-1])
    at = rng.randrange(len(working.steps))
    step = working.steps[at]
    numbers = [i for i, term in enumerate(step.terms) if isinstance(term, str)]
    if kind == 1 and numbers:
        changed = _with_wrong_number(step, rng.choice(numbers), rng)
    else:
        which = rng.randrange(len(step.operators))
        others = [o for o in "+-*/" if o != step.operators[which]]
        operators = list(step.operators)
        operators[which] = rng.choice(others)
        changed = replace(step, operators=tuple(operators))
    return replace(working, steps=(*working.steps[:at], changed, *working.steps[at + 1 :]))


def _with_wrong_number(step: Step, at: int, rng: Random) -> Step:
    """One digit of the number is another."""
    number = str(step.terms[at])
    places = [i for i, character in enumerate(number) if character.isdigit()]
    place = rng.choice(places)
    digit = rng.choice([d for d in "123456789" if d != number[place]])
    wrong = number[:place] + digit + number[place + 1 :]
    return replace(step, terms=(*step.terms[:at], wrong, *step.terms[at + 1 :]))
