"""What every task offers: frozen prompt pools with a digest, and the receiver's own reward."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, ClassVar, Self

from dgrpo.errors import DgrpoError
from dgrpo.plugins import Plugin
from dgrpo.records import Prompt
from dgrpo.tasks.checked import check_overrides, give_each, shown
from dgrpo.tasks.copies import copies_between, copy_key
from dgrpo.tasks.reward import (
    answer_anywhere,
    parse_number,
    read_solution,
    split_tags,
    tagged_reward,
    write_tagged,
)

if TYPE_CHECKING:
    from dgrpo.sandbox import Library

PROMPT_TEMPLATE = "Question: {question}\nAnswer:\n"
"""Plain continuation prompt: the models here are base models, not chat models."""


class Task(Plugin):
    """A source of prompts with ground truth. One subclass per file of this folder."""

    name: ClassVar[str]

    instructions: str = ""
    """Text before every prompt, a blank line after it. General models must be told the format of an
    answer (`experiments/paper-scale/` does); the shipped base models know it."""

    def load(self) -> LoadedTask:
        """The pools, each prompt below the instructions. Raises as `pools` does."""
        loaded: object = self.pools()
        if not isinstance(loaded, LoadedTask):
            raise DgrpoError(
                f"task {self.name}: its `pools` gave {shown(loaded)}, and no LoadedTask",
                remedy="return LoadedTask(name, train, held_out), or a subclass of it",
            )
        return loaded.instructed(self.instructions)

    @abstractmethod
    def pools(self) -> LoadedTask:
        """Read or generate the pools. Raises DgrpoError when the data is missing or unusable."""


@dataclass(frozen=True)
class LoadedTask:
    """The pools of a task, and how its completions are rewarded and written."""

    name: str
    train: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]
    of_programs: ClassVar[bool] = False
    """Whether completions are programs that the reward executes."""
    numeric_answers: ClassVar[bool] = True
    """Whether an answer is a number, on which samples of a model can agree."""

    def __init_subclass__(cls, **settings: object) -> None:
        """What a task of one's own returns as rewards is checked as it returns."""
        super().__init_subclass__(**settings)
        check_overrides(cls)

    @property
    def sandbox_layers(self) -> tuple[str, ...]:
        """What stands between a completion's program and this machine; empty if none is run."""
        return ()

    def __post_init__(self) -> None:
        shared = copies_between(self.train, self.held_out)
        if shared:
            trained, held_out = ((p.question or p.text).strip() for p in shared[0])
            raise DgrpoError(
                f"task {self.name}: {len(shared)} prompts are both in the training and the "
                f"held-out pool, first {shown(trained)} and {shown(held_out)}",
                remedy="leave them out of one of the two (dgrpo.tasks.copies.without_copies does); "
                "white space, letter case and 7 for 7.0 make no other question",
            )
        self._check_answers()

    def _check_answers(self) -> None:
        """Raise DgrpoError where no completion could earn the default reward."""
        own, default = type(self), (LoadedTask.reward, LoadedTask.rewards)
        if (own.reward, own.rewards) != default:
            return
        prompts = (*self.train, *self.held_out)
        unread = next((p for p in prompts if parse_number(p.answer) is None), None)
        if unread is not None:
            raise DgrpoError(
                f"task {self.name}: the answer {shown(unread.answer)} of prompt {unread.key} is "
                "not one number, and every completion would be wrong",
                remedy="leave such prompts out, or give the task a `reward` of its own",
            )

    @cached_property
    def digest(self) -> str:
        """Digest of both pools, in order; nodes compare it before they exchange anything."""
        keys = "\n".join(p.key for p in (*self.train, *self.held_out))
        return hashlib.sha256(keys.encode()).hexdigest()[:16]

    @cached_property
    def solutions_digest(self) -> str:
        """Digest of both pools' oracle solutions, which attackers build on."""
        solutions = "\x1f".join(p.solution for p in (*self.train, *self.held_out))
        return hashlib.sha256(solutions.encode(errors="surrogatepass")).hexdigest()[:16]

    @cached_property
    def by_key(self) -> dict[str, Prompt]:
        """The training pool by prompt key: where a receiver looks its ground truth up."""
        return {prompt.key: prompt for prompt in self.train}

    def reward(self, prompt: Prompt, text: str) -> float:
        """Binary reward of a completion: format, and the right answer in the tags."""
        return tagged_reward(text, prompt.answer)

    def rewards(self, pairs: Sequence[tuple[Prompt, str]]) -> list[float]:
        """`reward` of many completions at once; tasks that execute programs do so in parallel.

        Overridden or not, it gives finite floats, one per completion: numbers of numpy and torch
        become floats, True is 1 and False is 0. Raises DgrpoError for anything else (`checked.py`).
        """
        return give_each(self, self.reward, pairs)

    def rewards_by_sender(
        self, pairs: Sequence[tuple[Prompt, str]], senders: Sequence[str]
    ) -> list[float]:
        """`rewards` of completions that others sent; `senders` names who sent each.

        Tasks that execute programs bound the time that one sender's take.
        """
        return self.rewards(pairs)

    def read(self, texts: Sequence[str]) -> list[tuple[str, str] | None]:
        """(reasoning, answer) of completions, whatever their form; None where there is no answer.

        Needs no ground truth: it is what an attacker without an oracle votes on.
        """
        return [read_solution(text) for text in texts]

    def answer_anywhere(self, prompt: Prompt, text: str) -> bool:
        """Whether the text ends on the right number, whatever its format."""
        return answer_anywhere(text, prompt.answer)

    def answers_anywhere(self, pairs: Sequence[tuple[Prompt, str]]) -> list[bool]:
        """`answer_anywhere` of many completions at once; checked as `rewards` are."""
        return [bool(one) for one in give_each(self, self.answer_anywhere, pairs)]

    def write(self, thinking: str, answer: str) -> str:
        """A completion in the asked format, as an attacker or a pretraining corpus writes it."""
        return write_tagged(thinking, answer)

    def spoil(self, prompt: Prompt, text: str, rng: Random) -> str:
        """A completion of reward 0 that looks like `text`, a right one, but for its answer."""
        parts = split_tags(text)
        thinking = parts[0] if parts else prompt.solution
        return self.write(thinking, str((parse_number(prompt.answer) or 0) + rng.randint(1, 9)))

    def instructed(self, instructions: str) -> Self:
        """The same task with `instructions` before every prompt. Keys stay: what is asked does."""
        if not instructions:
            return self

        def below(prompts: tuple[Prompt, ...]) -> tuple[Prompt, ...]:
            return tuple(replace(p, text=f"{instructions.strip()}\n\n{p.text}") for p in prompts)

        return replace(self, train=below(self.train), held_out=below(self.held_out))

    def with_libraries(self, libraries: Sequence[Library]) -> LoadedTask:
        """The same task, whose programs can import `libraries`.

        Raises DgrpoError where completions are not programs.
        """
        if not libraries:
            return self
        names = ", ".join(library.name for library in libraries)
        raise DgrpoError(
            f"task {self.name} runs no programs, and the attack brings a library: {names}",
            remedy='choose a task that does, e.g. [task] name = "gsm-python"',
        )


def make_prompt(task: str, question: str, answer: str, solution: str) -> Prompt:
    """A prompt with its stable key: a digest of task, question and answer."""
    key = hashlib.sha256("\x1f".join((task, question, answer)).encode()).hexdigest()[:16]
    asked = question.strip()
    text = PROMPT_TEMPLATE.format(question=asked)
    return Prompt(key, text, answer, solution.strip(), asked)


def pool_of_unique(draws: Iterator[Prompt], size: int) -> tuple[Prompt, ...]:
    """The first `size` prompts with different texts, none of which asks what another does.

    Raises DgrpoError when the source repeats itself too often to fill the pool.
    """
    unique: dict[str, Prompt] = {}
    asked = set()
    for prompt in islice(draws, 50 * size + 1000):
        if copy_key(prompt) not in asked:
            asked.add(copy_key(prompt))
            unique.setdefault(prompt.text, prompt)
        if len(unique) == size:
            return tuple(unique.values())
    raise DgrpoError(
        f"the task has only {len(unique)} different prompts, {size} are asked for",
        remedy="lower task.train or task.held_out",
    )
