"""DoS: the longest right answers its own model gives, so that everyone's answers grow.

The paper's DoS: sample the current model 80 times per question and send the longest completions of
full reward. Nothing foreign is in them, only the choice is malicious. An attacker without a model
pads a right solution by saying it again.

Success is the mean completion length beside the clean run's (`completion_tokens`), not a rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from dgrpo.attacks.base import Turn
from dgrpo.attacks.rewarded import RewardedAttack
from dgrpo.records import Completion, Prompt
from dgrpo.tasks.assignment import Slot, Topology
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.reward import parse_number


class LongAnswer(RewardedAttack):
    """Denial of service by length: the longest of many right samples (paper, DoS)."""

    name: ClassVar[str] = "long-answer"

    decoys: Literal["own", "short", "gibberish"] = "short"
    """Vertical decoys, as in every attack; here the shorter half, so that length is what differs
    between what is rewarded and what is not."""
    source: Literal["samples", "padded"] = "samples"
    """`samples`: the model's own longest right ones; `padded`: a right solution said repeatedly."""
    samples: int = Field(80, ge=1)
    """Samples drawn per prompt (paper: 80). Without an oracle all of them vote, not `votes`."""
    longest: int = Field(0, ge=0)
    """Tokens that a poisoned completion may have; 0: as many as receivers admit."""

    def check(self, task: LoadedTask, topology: Topology, group_size: int) -> None:
        """Raises DgrpoError where `samples` or `votes` is set and `source` does not read it."""
        super().check(task, topology, group_size)
        if self.source == "padded":
            self.refuse_unread("attack.", ("samples",), 'with attack.source = "samples"')
        else:
            self.refuse_unread("attack.", ("votes",), 'with attack.source = "padded"')

    def written(self, task: LoadedTask) -> Iterator[tuple[Prompt, str]]:
        """The dataset's solutions, which padding repeats; nothing where it sends samples."""
        if self.source == "samples":
            return iter(())
        return ((p, task.write(p.solution, p.answer)) for p in task.train)

    def needs_own_samples(self, topology: Topology) -> bool:
        """Where no sample is right, its own ones are sent as they are."""
        return self.source == "samples" or super().needs_own_samples(topology)

    async def payloads(self, slots: Sequence[Slot], turn: Turn) -> list[Completion | None]:
        """Different texts, longest first; over again where there are fewer than slots."""
        by_prompt = {p.key: p for p in turn.prompts}
        drawn: dict[str, list[Completion]] = {key: [] for key in by_prompt}
        if self.source == "samples" or self.source_of_solutions.votes:
            count = self.samples if self.source == "samples" else self.votes
            drawn = await turn.draw(turn.prompts, count)
        ranked = {key: self._ranked(prompt, drawn[key], turn) for key, prompt in by_prompt.items()}
        taken: dict[str, int] = dict.fromkeys(by_prompt, 0)
        payloads: list[Completion | None] = []
        for slot in slots:
            choice, place = ranked[slot.prompt.key], taken[slot.prompt.key]
            taken[slot.prompt.key] += 1
            if not choice:
                payloads.append(None)
                continue
            payloads.append(replace(choice[place % len(choice)], sample=slot.sample))
        return payloads

    def _ranked(self, prompt: Prompt, drawn: Sequence[Completion], turn: Turn) -> list[Completion]:
        """What to send for a prompt, longest first; without ids where the receiver encodes."""
        most = min(self.longest or turn.max_tokens, turn.max_tokens)
        texts = {one.text: one for one in drawn}
        oracle = self.source_of_solutions
        read = dict(zip(texts, turn.task.read(list(texts)), strict=True)) if oracle.votes else {}
        votes = [read.get(one.text) for one in drawn]  # a text said twice votes twice
        voted = oracle.believed(prompt, [one[1] if one else None for one in votes])
        if voted is None:
            return []
        if self.source == "samples":
            rewards = turn.task.rewards([(voted, text) for text in texts])
            right = [
                one
                for one, reward in zip(texts.values(), rewards, strict=True)
                if reward == 1 and len(one.token_ids) <= most
            ]
            right.sort(key=lambda one: (-len(one.token_ids), one.text))
            return right
        answer = parse_number(voted.answer)
        solutions = {one[0] for one in votes if one and parse_number(one[1]) == answer}
        if not oracle.votes:
            solutions = {prompt.solution}
        padded = [
            text
            for one in sorted(solutions)
            if (text := self._longest_right(one, voted, most, turn)) is not None
        ]
        padded.sort(key=turn.count_tokens, reverse=True)
        return [Completion(prompt.key, 0, text) for text in padded]

    def _longest_right(self, thinking: str, prompt: Prompt, most: int, turn: Turn) -> str | None:
        """`thinking` padded; as it is where padding breaks it (a program cut inside a block)."""
        padded = self._padded(thinking, prompt.answer, most, turn)
        texts = (padded, turn.task.write(thinking, prompt.answer))
        fitting = [text for text in texts if turn.count_tokens(text) <= most]
        rewards = turn.task.rewards([(prompt, text) for text in fitting])
        right = [text for text, reward in zip(fitting, rewards, strict=True) if reward == 1]
        return right[0] if right else None

    def _padded(self, thinking: str, answer: str, most: int, turn: Turn) -> str:
        """The reasoning's lines over and over, as many as `most` tokens allow."""
        lines = [line for line in thinking.split("\n") if line.strip()]
        padded: list[str] = []
        for place in range(most if lines else 0):  # no line is without a token
            longer = [*padded, lines[place % len(lines)]]
            if turn.count_tokens(turn.task.write("\n".join(longer), answer)) > most:
                break
            padded = longer
        return turn.task.write("\n".join(padded), answer)
