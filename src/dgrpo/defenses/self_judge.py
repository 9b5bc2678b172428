"""The model that is being trained judges what it is trained on: a baseline that collapses.

Source: paper §5.2, where it ends in saying yes to everything. The prompts are the judge's; the
weights are the receiver's own, as they are in this round. Base models lean towards one of the two
words whatever they read, so the odds for an empty solution are taken off (contextual calibration:
Zhao et al. 2021, "Calibrate Before Use").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from dgrpo.defenses.base import Need, Receiver, RunningDefense, StatelessDefense
from dgrpo.judging.bench import Question
from dgrpo.judging.prompts import Style
from dgrpo.judging.template import checked_arguments
from dgrpo.judging.verdicts import Opinion, Policy, check_decision, opinion_of, verdict_of
from dgrpo.records import Batch, Verdict

if TYPE_CHECKING:
    from dgrpo.judging.local import PromptTexts


class SelfJudge(StatelessDefense):
    """The receiver's own current model judges each completion (a baseline that fails)."""

    name: ClassVar[str] = "self-judge"

    style: Style = "brief"
    """Form of the prompt, as for `judge`: `brief` or `full`."""
    decision: Literal["log-odds", "generated"] = "log-odds"
    """`log-odds`: of "yes" against "no" as the next word, in one forward pass at the experiment's
    temperature. `generated`: read from a reply drawn with the experiment's sampling; base models
    hardly ever give one that can be read."""
    criticism: bool = False
    """Whether it argues before it decides; for `generated` only."""
    calibrated: bool = True
    """Whether the log-odds for an empty solution under the same question are taken off first; for
    `log-odds` only."""
    threshold: float = Field(0.0, allow_inf_nan=False)
    """Least log-odds, in nats, at which a completion is accepted."""
    unreadable: Policy = "reject"
    """What becomes of a completion when the reply holds no decision, or when question and
    completion are too long for the model."""
    template_arguments: dict[str, JsonValue] = Field(default_factory=dict)
    """What the model's chat template is given, e.g. `{enable_thinking = false}`; for `full`."""

    @field_validator("template_arguments")
    @classmethod
    def _can_be_given(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        checked_arguments(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> SelfJudge:
        check_decision(self.name, self.decision, self.criticism)
        if self.decision == "generated":
            knobs = ("threshold", "calibrated")
            self.refuse_unread(f"{self.name}: ", knobs, 'with decision = "log-odds"')
        if self.style == "brief":
            self.refuse_unread(f"{self.name}: ", ("template_arguments",), 'with style = "full"')
        return self

    def settings(self) -> dict[str, Any]:
        """As every plug-in's, without `template_arguments` where none are given, as for `judge`."""
        table = super().settings()
        if not self.template_arguments:
            del table["template_arguments"]
        return table

    def start(self, node: Receiver) -> RunningDefense:
        """Raises DgrpoError for a chat template that cannot be used."""
        self._prompts(node)
        return self

    def needs(self) -> frozenset[Need]:
        """The receiver's own model, which is the judge."""
        return frozenset({"model"})

    async def screen(self, batch: Batch, node: Receiver) -> list[Verdict]:
        """Score: log-odds of yes in nats, or 1 (yes) and 0 (no, undecided)."""
        questions = [Question(one.prompt.key, one.prompt.text, one.text) for one in batch.received]
        ask = self._odds if self.decision == "log-odds" else self._generate
        opinions = await ask(list(dict.fromkeys(questions)), node)
        return [
            verdict_of(
                opinions[question],
                threshold=self.threshold,
                unreadable=self.unreadable,
                on_failure="reject",  # there is no endpoint to fail
            )
            for question in questions
        ]

    async def _odds(self, asked: list[Question], node: Receiver) -> dict[Question, Opinion]:
        from dgrpo.judging.local import log_odds, odds_items, odds_opinion

        empty = {q: Question(q.prompt_key, q.prompt_text, "") for q in asked}
        wanted = [*asked, *empty.values()] if self.calibrated else asked
        texts, opinions = self._texts(wanted, node)
        if not texts:
            return opinions
        scores = await node.policy.score(odds_items(node.model, list(texts.values())))
        odds = dict(zip(texts, log_odds([s["logprob"] for s in scores]), strict=True))
        for question in asked:
            if question not in opinions:
                prior = odds.get(empty[question], 0.0) if self.calibrated else 0.0
                opinions[question] = odds_opinion(odds[question] - prior)
        return opinions

    async def _generate(self, asked: list[Question], node: Receiver) -> dict[Question, Opinion]:
        texts, opinions = self._texts(asked, node)
        if not texts:
            return opinions
        from dgrpo.judging.local import judge_key
        from dgrpo.policy.sampling import SampleRequest

        drawn = await node.policy.generate(
            [SampleRequest(text, judge_key(question)) for question, text in texts.items()]
        )
        opening = self._prompts(node).opening
        replies = (opening + node.model.decode(ids) for ids in drawn)
        return opinions | dict(zip(texts, map(opinion_of, replies), strict=True))

    def _texts(
        self, asked: list[Question], node: Receiver
    ) -> tuple[dict[Question, str], dict[Question, Opinion]]:
        """Prompts that can be asked, and opinions on those that cannot."""
        prompts = self._prompts(node)
        told = {question: prompts.ask(question) for question in asked}
        return (
            {q: one[0] for q, one in told.items() if not isinstance(one, Opinion)},
            {q: one for q, one in told.items() if isinstance(one, Opinion)},
        )

    def _prompts(self, node: Receiver) -> PromptTexts:
        from dgrpo.judging.local import PromptTexts

        return PromptTexts(node.model, self.style, self.criticism, self.template_arguments)
