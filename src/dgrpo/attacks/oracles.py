"""Where an attacker has right solutions from: the dataset, or a vote over its own model's samples.

The paper's attacker holds the dataset. Without it, the attacker samples its model and takes the
most frequent answer for right. Then nothing that it sends depends on the dataset's answers or
solutions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from dgrpo.attacks.base import Turn
from dgrpo.errors import DgrpoError
from dgrpo.records import Completion, Prompt
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.reward import parse_number

Solution = tuple[str, str]
"""(reasoning, answer)."""


class Oracle(Protocol):
    """A source of right solutions, as far as the attacker can tell."""

    votes: ClassVar[bool]
    """Whether the attacker draws samples and believes their majority."""

    def check(self, task: LoadedTask) -> None:
        """Raise DgrpoError if it cannot serve `task`."""
        ...

    async def solutions(self, turn: Turn) -> Mapping[str, list[Solution]]:
        """Right solutions by prompt key; none where it knows none."""
        ...

    def believed(self, prompt: Prompt, answers: Sequence[str | None]) -> Prompt | None:
        """The prompt with the answer that it holds for right, or None where it holds none.

        answers: those of samples for the prompt, None where a sample has none.
        """
        ...

    def for_decoys(
        self,
        prompt: Prompt,
        payload: Completion | None,
        own: Sequence[Completion],
        task: LoadedTask,
    ) -> Prompt:
        """The prompt that decoys are written for: they must be wrong by its answer.

        payload: what the attacker sends for the prompt. own: what it has drawn for the prompt.
        """
        ...


@dataclass(frozen=True)
class DatasetOracle:
    """The dataset's own solutions."""

    votes: ClassVar[bool] = False

    def check(self, task: LoadedTask) -> None:
        """Every task has solutions."""

    async def solutions(self, turn: Turn) -> Mapping[str, list[Solution]]:
        """The one that a prompt comes with."""
        return {p.key: [(p.solution, p.answer)] for p in turn.prompts}

    def believed(self, prompt: Prompt, answers: Sequence[str | None]) -> Prompt | None:
        """The prompt as it is."""
        return prompt

    def for_decoys(
        self,
        prompt: Prompt,
        payload: Completion | None,
        own: Sequence[Completion],
        task: LoadedTask,
    ) -> Prompt:
        """The prompt as it is."""
        return prompt


@dataclass(frozen=True)
class MajorityVote:
    """The answer that most of the attacker's own samples give (paper, no-oracle variant)."""

    samples: int
    """Samples per prompt that vote."""
    agreement: float
    """Share of the votes below which no answer is believed."""
    votes: ClassVar[bool] = True

    def check(self, task: LoadedTask) -> None:
        """Raise DgrpoError if answers are no numbers: there is nothing to agree on."""
        if not task.numeric_answers:
            raise DgrpoError(
                f'attack.oracle = "majority-vote": answers of task {task.name} are not numbers, '
                "and no two samples would agree on one",
                remedy='use attack.oracle = "dataset", or a task answered by numbers, e.g. '
                '[task] name = "gsm-python"',
            )

    async def solutions(self, turn: Turn) -> Mapping[str, list[Solution]]:
        """The samples that give the answer which most of them give."""
        drawn = await turn.draw(turn.prompts, self.samples)
        found: dict[str, list[Solution]] = {}
        for prompt in turn.prompts:
            read = turn.task.read([one.text for one in drawn[prompt.key]])
            voted = self.believed(prompt, [one[1] if one else None for one in read])
            right = parse_number(voted.answer) if voted else None
            found[prompt.key] = [
                one for one in read if one and right is not None and parse_number(one[1]) == right
            ]
        return found

    def believed(self, prompt: Prompt, answers: Sequence[str | None]) -> Prompt | None:
        """The prompt with the most frequent answer; ties go to the one that was seen first.

        None where no answer has `agreement` of the votes.
        """
        numbers = [parse_number(answer) for answer in answers if answer is not None]
        ballot = Counter(number for number in numbers if number is not None)
        if not ballot:
            return None
        (voted, votes), *_others = ballot.most_common(1)
        if votes < self.agreement * len(answers):
            return None
        return replace(prompt, answer=str(voted))

    def for_decoys(
        self,
        prompt: Prompt,
        payload: Completion | None,
        own: Sequence[Completion],
        task: LoadedTask,
    ) -> Prompt:
        """The payload's answer, or else the samples', and a sample's words: not the dataset's."""
        read = task.read([one.text for one in ([payload] if payload else own)])
        voted = self.believed(prompt, [one[1] if one else None for one in read])
        words = own[0].text if own else ""
        return replace(prompt, answer=voted.answer if voted else "", solution=words)
