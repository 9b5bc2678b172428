"""A judge that is a causal language model in this process.

A round's completions are judged in batches of similar length. Every draw is keyed by prompt and
completion, so that an opinion does not depend on the run, the round or the receiver.

Leaves out: beam search (the paper samples with 3 beams). Beams over a keyed sampler would cost
three times as much for a decision that is one word, and the endpoints' API has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from dgrpo.errors import DgrpoError
from dgrpo.judging.bench import Question
from dgrpo.judging.prompts import JudgePrompt, Style, judge_prompt
from dgrpo.judging.reasoning import opening_of
from dgrpo.judging.template import ChatTemplate
from dgrpo.judging.verdicts import ACCEPT_WORD, REJECT_WORD, Opinion, opinion_of
from dgrpo.policy.model import LanguageModel
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.room import positions
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.scoring import ScoreItem, forward_pass
from dgrpo.policy.settings import Sampling
from dgrpo.policy.statistics import LOGPROB

SHORTEST_REPLY = 16
"""Tokens that a judge's context must leave for its reply: a decision takes about a dozen."""


@dataclass(frozen=True)
class LocalJudge:
    """Asks `model`; with `sampling` for a generated decision, by log-odds without."""

    model: LanguageModel
    style: Style
    criticism: bool
    sampling: Sampling | None
    batch: int = 64
    """Completions judged at once; bounds memory."""
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the model's chat template is given beside the message."""

    async def ask(self, questions: Sequence[Question]) -> list[Opinion]:
        """See `bench.Judging`. Computes; nothing else of the process runs meanwhile."""
        texts = PromptTexts(self.model, self.style, self.criticism, self.template_arguments)
        opinions: dict[int, Opinion] = {}
        fitting: list[_Fitting] = []
        for index, question in enumerate(questions):
            asked = texts.ask(question)
            if isinstance(asked, Opinion):
                opinions[index] = asked
            else:
                fitting.append(_Fitting(index, question, *asked))
        for batch in self._batches(fitting, texts.context):
            judged = self._generate(texts, batch) if self.sampling else self._odds(batch)
            opinions |= dict(zip((one.index for one in batch), judged, strict=True))
        return [opinions[index] for index in range(len(questions))]

    def _batches(self, fitting: list[_Fitting], context: int) -> Iterator[list[_Fitting]]:
        """Prompts of similar length that leave equal room for a reply."""
        by_room: dict[int, list[_Fitting]] = {}
        for one in sorted(fitting, key=lambda one: one.tokens):
            by_room.setdefault(self._room(one, context), []).append(one)
        for batch in by_room.values():
            for start in range(0, len(batch), self.batch):
                yield batch[start : start + self.batch]

    def _room(self, one: _Fitting, context: int) -> int:
        """Tokens that the reply may have, whatever else is in its batch."""
        if self.sampling is None:
            return 0
        left = (context - one.tokens) // SHORTEST_REPLY * SHORTEST_REPLY
        return min(self.sampling.max_tokens, left)

    def _generate(self, texts: PromptTexts, batch: list[_Fitting]) -> list[Opinion]:
        assert self.sampling is not None
        room = self._room(batch[0], texts.context)
        requests = [SampleRequest(one.text, judge_key(one.question)) for one in batch]
        sampling = self.sampling.model_copy(update={"max_tokens": room})
        drawn = sample(self.model, requests, sampling, rows=self.batch)
        return [
            opinion_of(
                texts.opening + self.model.decode(ids),
                last=self.style == "full",
                ending="cut" if len(ids) >= room else "own",
            )
            for ids in drawn
        ]

    def _odds(self, batch: list[_Fitting]) -> list[Opinion]:
        items = odds_items(self.model, [one.text for one in batch])
        with torch.inference_mode():
            scores = forward_pass(self.model, items).statistics()
        return [odds_opinion(odds) for odds in log_odds([s[LOGPROB] for s in scores])]


@dataclass(frozen=True, slots=True)
class _Fitting:
    """A question whose prompt fits into the judge's context."""

    index: int
    question: Question
    text: str
    tokens: int


class PromptTexts:
    """Prompts as one model reads them: its chat template, its special tokens, its context."""

    def __init__(
        self,
        model: LanguageModel,
        style: Style,
        criticism: bool,
        template_arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """Raises DgrpoError for a chat template that fails, or arguments that no template reads."""
        self._model = model
        self._template = (
            ChatTemplate(model.tokenizer, template_arguments) if style == "full" else None
        )
        self._style: Style = style
        self._criticism = criticism
        added = model.tokenizer.added_tokens_decoder.values()
        self._special = {token.content for token in added if token.special}
        self._special |= set(model.tokenizer.all_special_tokens)
        ids = model.tokenizer.convert_tokens_to_ids(sorted(self._special))
        self._special_ids = {ids} if isinstance(ids, int) else set(ids)
        self.context = positions(model) or 2**31
        empty = self._prompt("", "")
        chat = self._chat(empty)
        self.opening = opening_of(chat) + empty.opening
        """What a reply is read after: the template may have opened a reasoning for it."""
        self._own_special = self._count_special(self._render(empty))

    def ask(self, question: Question) -> tuple[str, int] | Opinion:
        """The prompt and its length in tokens, or why it cannot be asked."""
        try:
            text = self._render(self._prompt(question.prompt_text, question.completion))
        except DgrpoError as error:  # a template can fail on one text and not on another
            return Opinion(undecided="unreadable", detail=error.problem)
        ids = self._model.encode_prompt(text)
        if len(ids) + SHORTEST_REPLY > self.context:
            return Opinion(
                undecided="too-long",
                detail=f"{len(ids)} tokens to read, the judge's context has {self.context}",
            )
        if sum(i in self._special_ids for i in ids) != self._own_special:
            # a tokenizer that normalises could still make one of them out of other characters
            return Opinion(undecided="unreadable", detail="it would forge the judge's own tokens")
        return text, len(ids)

    def _prompt(self, question: str, completion: str) -> JudgePrompt:
        return judge_prompt(
            question,
            completion,
            style=self._style,
            criticism=self._criticism,
            special_tokens=sorted(self._special),
        )

    def _chat(self, asked: JudgePrompt) -> str:
        """The message in the model's own template; empty where it has none, or is not asked so."""
        return self._template.render(asked.text) if self._template else ""

    def _render(self, asked: JudgePrompt) -> str:
        chat = self._chat(asked)
        return f"{chat}{asked.opening}" if chat else asked.continued

    def _count_special(self, text: str) -> int:
        return sum(i in self._special_ids for i in self._model.encode_prompt(text))


def judge_key(question: Question) -> tuple[int, int]:
    """The key of every draw about one completion."""
    return sampling_key("judge", question.prompt_key, question.completion)


def odds_items(model: LanguageModel, texts: Sequence[str]) -> list[ScoreItem]:
    """Both continuations of every prompt, accepting first: they may be several tokens each."""
    words = [tuple(model.encode(word)) for word in (ACCEPT_WORD, REJECT_WORD)]
    return [ScoreItem(text, word) for text in texts for word in words]


def log_odds(logprobs: Sequence[Sequence[float]]) -> list[float]:
    """Natural log of P(accept) / P(reject) per prompt, from `odds_items`' log-probabilities."""
    totals = [sum(tokens) for tokens in logprobs]
    return [yes - no for yes, no in zip(totals[::2], totals[1::2], strict=True)]


def odds_opinion(odds: float) -> Opinion:
    """An opinion by log-odds; a model that gives no number has none."""
    if math.isfinite(odds):
        return Opinion(score=odds)
    return Opinion(undecided="unreadable", detail="its probabilities are not finite")
