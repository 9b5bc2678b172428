"""The typed records that flow through a round.

Everything that crosses a module border is one of these small frozen records; tensors stay inside
`policy/` and `learning/`. What crosses the *network* is only `Completion` (see `exchange/`): a
prompt key, a sample index, the text, whether it ended by itself and, optionally, its token ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Label = Literal["honest", "poisoned", "decoy", "unknown"]
"""What the *sender* knows of its own completion. Never on the wire; joined in the report only.
A node on a network knows its own labels alone: a peer's completions are "unknown" there."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question with its ground truth, which every node holds and looks up by `key`."""

    key: str
    """Stable digest of task, question and answer; all of a prompt that crosses the wire."""
    text: str
    """What the model is given, template included."""
    answer: str = ""
    """Ground truth, as the task's reward compares it; empty where nothing is rewarded."""
    solution: str = ""
    """Oracle reasoning without tags or final answer; attackers and pretraining use it."""
    question: str = ""
    """What is asked, without template and instructions; empty where a task does not say."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A claim: "this is sample `sample` for prompt `prompt_key`"."""

    prompt_key: str
    sample: int
    """Index within the prompt's group: 0 ≤ sample < G."""
    text: str
    token_ids: tuple[int, ...] = ()
    """Claimed ids, end token included if the text ended by itself; empty: the receiver encodes."""
    ended: bool = True
    """Whether the text ended by itself, not at the token limit. Written texts do."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A completion as its sender knows it, with the label that stays at home."""

    completion: Completion
    label: Label


@dataclass(frozen=True, slots=True)
class Received:
    """A completion that passed the exchange's checks, with its sender and the receiver's prompt."""

    sender: str
    """Name of the node that sent it; the receiver's own name for its own completions."""
    prompt: Prompt
    """The *receiver's* copy, looked up by key: ground truth is never taken from a peer."""
    sample: int
    text: str
    token_ids: tuple[int, ...]
    """Ids that are checked and trained on, in the receiver's tokenisation. The last is an end token
    unless the text was cut off at its sender's token limit."""

    @property
    def item(self) -> tuple[str, str, int]:
        """(sender, prompt key, sample): identifies a completion within a round."""
        return (self.sender, self.prompt.key, self.sample)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one defense says of one received completion."""

    accepted: bool
    score: float
    """The number the decision was made on, in the defense's own unit (see its docstring)."""
    reason: str = ""
    """Why it was rejected, in plain words; empty when accepted."""
    undecided: str = ""
    """What kept the defense from judging at all (`timeout`, `unreadable`, …), so that its policy
    for such cases decided, whichever way; empty otherwise. Counted by kind in rounds.jsonl."""


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """How a model sees one completion: `statistics["rank"]` has one number per token id."""

    by_name: Mapping[str, tuple[float, ...]]
    """One number per token id, by the names of `policy/statistics.py`: logprob, rank, …"""

    def __getitem__(self, name: str) -> tuple[float, ...]:
        """A statistic, one number per token id. Raises KeyError if it was not asked for."""
        return self.by_name[name]


@dataclass(frozen=True, slots=True)
class Batch:
    """What a receiver screens together: in a round, everything that it admitted."""

    round: int
    """0-based index of the update that may learn from it."""
    received: tuple[Received, ...]
    rewards: tuple[float, ...] = ()
    """One per completion, from the receiver's own task; none if nobody needs "rewards"."""
    statistics: tuple[TokenStatistics, ...] = ()
    """One per completion, with what the defenses asked for; none if they asked for nothing."""

    def part(self, indices: Sequence[int]) -> Batch:
        """Some of its completions, without statistics."""
        rewards = tuple(self.rewards[i] for i in indices) if self.rewards else ()
        return Batch(self.round, tuple(self.received[i] for i in indices), rewards)


@dataclass(frozen=True, slots=True)
class Judged:
    """One received completion with everything the receiver decided about it."""

    received: Received
    verdicts: dict[str, Verdict]
    accepted: bool
    """True when every defense accepted it."""
    reward: float
    """Reward against the receiver's own ground truth, whether rejected or not: under `zero-reward`
    a rejected completion's advantage is that of reward 0."""
    advantage: float | None
    """What multiplies the log-probabilities in the loss; None when left out."""


@dataclass(frozen=True, slots=True)
class UpdateStats:
    """What one policy update did."""

    loss: float
    gradient_norm: float
    """L2 norm before clipping."""
    tokens: int
    """Completion tokens that carried a non-zero advantage."""


@dataclass(frozen=True, slots=True)
class Example:
    """A held-out completion for people to read."""

    question: str
    text: str
    reward: float
    poisoned: bool
    """Whether any measured attack succeeded in it."""


@dataclass(frozen=True, slots=True)
class HeldOutScore:
    """Held-out measurement of one model after some number of updates."""

    samples: int
    accuracy: float
    """Mean reward: format and answer."""
    answer_anywhere: float
    """Share whose last number is the right answer, whatever the format."""
    completion_tokens: float
    """Mean length in tokens, end token included."""
    measures: dict[str, float | None]
    """Attack success by measure name; None where no completion was applicable."""
    measured_prompts: dict[str, int]
    """How many different prompts stand behind a measure that is drawn on prompts of its own."""
    examples: tuple[Example, ...] = ()
    """A few, poisoned ones first."""


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One node's account of one round; the swarm folds these into a line of rounds.jsonl."""

    node: str
    round: int
    """0-based index of the update; the held-out score is the one after `round + 1` updates."""
    judged: tuple[Judged, ...]
    violations: dict[str, int]
    """Messages dropped by the exchange, by kind: unknown-prompt, surplus, duplicate, missing, …"""
    idle_groups: int
    """Groups that taught nothing: fewer than two accepted completions, or equal rewards."""
    update: UpdateStats
    held_out: HeldOutScore | None
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds by phase: generate, exchange, verify, reward, update, evaluate."""
