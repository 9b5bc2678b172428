"""The learner: one model with its optimiser, scored and updated once per round (or a few times).

Scoring what will be learned from keeps the forward pass, and the update that follows uses it again:
a defense that looks at probabilities costs no pass of its own. Memory for that is the activations
of what was scored. With `groups_per_pass` a round comes in parts of so many prompts, each scored,
then learned from, and gradients accumulate until the round's last part.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from dgrpo.errors import DgrpoError
from dgrpo.learning.losses import policy_loss
from dgrpo.learning.settings import LearnerSettings
from dgrpo.policy.model import LanguageModel
from dgrpo.policy.sampling import BLOWN_UP, SampleRequest, sample
from dgrpo.policy.scoring import ForwardPass, ScoreItem, forward_pass
from dgrpo.policy.settings import Sampling
from dgrpo.records import TokenStatistics, UpdateStats


class Learner:
    """One model being trained. `completions` is the configured B·G that the loss divides by."""

    def __init__(
        self,
        model: LanguageModel,
        settings: LearnerSettings,
        sampling: Sampling,
        *,
        completions: int,
    ) -> None:
        self.model = model
        self.settings = settings
        self.sampling = sampling
        self.completions = completions
        self.parameters = [p for p in model.network.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(
            self.parameters, lr=settings.learning_rate, betas=settings.adam_betas, foreach=True
        )
        self._reference = model.clone() if settings.beta else None
        self._kept: tuple[tuple[ScoreItem, ...], ForwardPass] | None = None
        self._part: UpdateStats | None = None
        """Of the round's parts so far, whose gradients are accumulated."""

    def generate(self, requests: Sequence[SampleRequest]) -> list[tuple[int, ...]]:
        """One completion's ids per request. Raises DgrpoError if logits are not finite."""
        return sample(self.model, list(requests), self.sampling, finite=True)

    def score(
        self, items: Sequence[ScoreItem], statistics: Collection[str] = (), *, keep: bool = False
    ) -> list[TokenStatistics]:
        """Statistics per token under the current weights, in the items' order.

        statistics: names of `policy/statistics.py`; `logprob` is always there.

        keep: the next step is on these items, and may use this forward pass.
        """
        if not items:
            return []
        chunks = self._chunks(items)
        if keep and self.settings.keep_forward and len(chunks) == 1:
            with torch.enable_grad():
                whole = self._forward(items, statistics)
            self._kept = (tuple(items), whole)
            return whole.statistics()
        with torch.no_grad():
            passes = [self._forward(chunk, statistics) for chunk in chunks]
        return [scores for one in passes for scores in one.statistics()]

    def step(
        self,
        items: Sequence[ScoreItem],
        advantages: Sequence[float | None],
        round_index: int,
        *,
        more: bool = False,
    ) -> UpdateStats:
        """One round's update(s) from items and their advantages; None leaves an item out.

        more: these are a part of the round, and other parts follow. Gradients accumulate, and the
        last part's step is the update; what it returns is of the whole round. Raises DgrpoError
        when a loss or a gradient is not finite, before it reaches the weights, and when a step
        makes weights that are not.
        """
        kept, self._kept = self._kept, None
        whole = kept[1] if kept is not None and kept[0] == tuple(items) else None
        work = list(zip(items, advantages, strict=True))
        tokens = sum(len(item.token_ids) for item, a in work if a is not None)
        if whole is None:
            # nothing flows through an item that is left out, or without KL through advantage 0
            work = [w for w in work if w[1] is not None and (w[1] != 0.0 or self.settings.beta)]
        taught = sum(len(item.token_ids) for item, a in work if a)
        old: list[torch.Tensor] | None = None
        if taught or (self.settings.beta and tokens):
            self._set_rate(round_index)
            loss, old = self._backward(work, whole, None, round_index, tokens)
            before = self._part or UpdateStats(loss=0.0, gradient_norm=0.0, tokens=0)
            self._part = replace(before, loss=before.loss + loss, tokens=before.tokens + taught)
        if more or self._part is None:
            return self._part or UpdateStats(loss=0.0, gradient_norm=0.0, tokens=0)
        done, self._part = self._part, None
        first = replace(done, gradient_norm=self._optimise(round_index))
        for _ in range(self.settings.updates_per_round - 1):
            self._backward(work, None, old, round_index, tokens)
            self._optimise(round_index)
        return first

    def _optimise(self, round_index: int) -> float:
        """Step along the accumulated gradient; returns its norm before clipping."""
        norm = torch.nn.utils.clip_grad_norm_(
            self.parameters, self.settings.max_gradient_norm, foreach=True
        )
        if not torch.isfinite(norm):
            self.optimiser.zero_grad(set_to_none=True)
            raise _not_finite("gradient is", "the sum over groups", round_index)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self._check_weights(round_index)
        return float(norm)

    def _check_weights(self, round_index: int) -> None:
        # a round without different rewards computes no loss: nothing else would notice
        largest = torch.nn.utils.get_total_norm(self.parameters, torch.inf, foreach=True)
        if not torch.isfinite(largest):
            named = self.model.network.named_parameters()
            bad = next(name for name, p in named if not torch.isfinite(p).all())
            raise _not_finite("step made weights that are", bad, round_index)

    def _set_rate(self, round_index: int) -> None:
        warm = min(1.0, (round_index + 1) / max(self.settings.warmup_rounds, 1))
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * warm

    def _backward(
        self,
        work: Sequence[tuple[ScoreItem, float | None]],
        whole: ForwardPass | None,
        old: list[torch.Tensor] | None,
        round_index: int,
        tokens: int,
    ) -> tuple[float, list[torch.Tensor]]:
        """Accumulate the gradient over all chunks; returns the loss and detached log-probs.

        whole: a forward pass of all of them that was kept; they are one chunk then.
        """
        advantages = [a for _, a in work]
        total, seen, start = 0.0, [], 0
        for index, chunk in enumerate(self._chunks([item for item, _ in work])):
            result = whole or self._forward(chunk)
            here = advantages[start : start + len(chunk)]
            device = self.model.device
            counted = torch.tensor([a is not None for a in here], device=device)
            loss = policy_loss(
                result.logprobs,
                result.mask & counted[:, None],
                torch.tensor([a or 0.0 for a in here], dtype=torch.float32, device=device),
                completions=self.completions,
                max_tokens=self.sampling.max_tokens,
                normalisation=self.settings.normalisation,
                tokens_in_batch=tokens,
                old_logprobs=old[index] if old else None,
                clip_low=self.settings.clip_low,
                clip_high=self.settings.clip_high,
                reference_logprobs=self._reference_logprobs(chunk),
                beta=self.settings.beta,
            )
            if not torch.isfinite(loss):
                self.optimiser.zero_grad(set_to_none=True)
                bad = (~torch.isfinite(result.logprobs)).any(dim=1).nonzero().flatten().tolist()
                place = f"the group of {chunk[bad[0]].prompt_text[:80]!r}" if bad else "the sum"
                raise _not_finite("loss is", place, round_index)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
            seen.append(result.logprobs.detach())
            start += len(chunk)
        return total, seen

    def clone(self) -> Learner:
        """A learner that goes its own way: weights, gradients and optimiser state are copied."""
        twin = Learner.__new__(Learner)
        twin.__dict__.update(self.__dict__)
        twin.model = self.model.clone()
        twin.parameters = [p for p in twin.model.network.parameters() if p.requires_grad]
        for ours, theirs in zip(self.parameters, twin.parameters, strict=True):
            theirs.grad = None if ours.grad is None else ours.grad.clone()
        twin.optimiser = torch.optim.Adam(
            twin.parameters,
            lr=self.settings.learning_rate,
            betas=self.settings.adam_betas,
            foreach=True,
        )
        twin.optimiser.load_state_dict(copy.deepcopy(self.optimiser.state_dict()))
        twin._kept = None
        return twin

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimiser state; the reference is the starting model and is not saved."""
        return {
            "weights": self.model.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave.

        Raises an error of torch's, or ValueError, if it is of another model. The optimiser's rates
        are the settings', whatever the state says.
        """
        self.model.network.load_state_dict(state["weights"])
        moments = state["optimiser"]["state"]
        self._check_moments(moments)
        rates = self.optimiser.state_dict()["param_groups"]
        # torch's optimisers keep the tensors they are given; a copy keeps two learners apart
        self.optimiser.load_state_dict(
            {"state": copy.deepcopy(moments), "param_groups": copy.deepcopy(rates)}
        )
        self._kept = None

    def _check_moments(self, moments: Mapping[int, Mapping[str, torch.Tensor]]) -> None:
        """Raise ValueError unless they are Adam's of these parameters, or it has made no step."""
        wanted = {
            index: {"step": torch.Size(), "exp_avg": p.shape, "exp_avg_sq": p.shape}
            for index, p in enumerate(self.parameters)
        }
        given = {
            index: {name: one.shape for name, one in those.items() if one.is_floating_point()}
            for index, those in moments.items()
        }
        if given and given != wanted:
            raise ValueError("the optimiser's moments are not those of this model")

    def _forward(self, items: Sequence[ScoreItem], statistics: Collection[str] = ()) -> ForwardPass:
        return forward_pass(
            self.model, list(items), temperature=self.sampling.temperature, statistics=statistics
        )

    def _reference_logprobs(self, items: Sequence[ScoreItem]) -> torch.Tensor | None:
        if self._reference is None:
            return None
        with torch.no_grad():
            return forward_pass(
                self._reference, list(items), temperature=self.sampling.temperature
            ).logprobs

    def _chunks(self, items: Sequence[ScoreItem]) -> list[Sequence[ScoreItem]]:
        """Runs of items of at most `groups_per_pass` different prompts, in order."""
        limit = self.settings.groups_per_pass
        if limit is None:
            return [items] if items else []
        chunks: list[list[ScoreItem]] = []
        prompts: set[str] = set()
        for item in items:
            if not chunks or (item.prompt_text not in prompts and len(prompts) == limit):
                chunks.append([])
                prompts = set()
            prompts.add(item.prompt_text)
            chunks[-1].append(item)
        return list(chunks)


def _not_finite(what: str, place: str, round_index: int) -> DgrpoError:
    return DgrpoError(
        f"round {round_index}: the {what} not finite, first in {place}", remedy=BLOWN_UP
    )
