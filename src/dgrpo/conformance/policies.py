"""What every policy promises. The stage is the shipped small model, which may learn or not."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import torch

from dgrpo.learning.policies import Trainable
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest
from dgrpo.policy.scoring import ScoreItem
from dgrpo.records import UpdateStats

Load = Callable[[], Trainable]
"""Loads the policy's model with its first weights; it draws 24 of 5 most likely tokens at most."""

QUESTIONS = ("Question: What is 2+2?\nAnswer: ", "Question: Tom has 3 cows and buys 4.\nAnswer: ")
REQUESTS = [
    SampleRequest(text, sampling_key("conformance", text, s)) for text in QUESTIONS for s in (0, 1)
]
ADVANTAGES = (1.0, -1.0, 1.0, -1.0)


def drawn_by(policy: Trainable) -> list[ScoreItem]:
    """A completion for each request."""
    ids = policy.generate(REQUESTS)
    return [ScoreItem(r.prompt_text, one) for r, one in zip(REQUESTS, ids, strict=True)]


def logprobs(policy: Trainable, items: Sequence[ScoreItem]) -> list[tuple[float, ...]]:
    """How likely each token is."""
    return [one["logprob"] for one in policy.score(items)]


def learn(policy: Trainable, items: Sequence[ScoreItem], round_index: int = 0) -> UpdateStats:
    """One round's update."""
    return policy.step(items, ADVANTAGES, round_index)


def test_a_requests_key_decides_its_completion(load: Load) -> None:
    """Whoever holds the key can draw the completion again."""
    policy = load()
    first = policy.generate(REQUESTS)
    assert len(first) == len(REQUESTS)
    assert all(first)
    assert policy.generate(REQUESTS) == first
    assert policy.generate(REQUESTS[::-1]) == first[::-1]
    assert load().generate(REQUESTS) == first
    assert first[0] != first[1] or first[2] != first[3]


def test_what_it_draws_keeps_to_the_sampling(load: Load) -> None:
    """At most `max_tokens` tokens, each among the `top_k` most likely by its own scores."""
    policy = load()
    items = drawn_by(policy)
    assert max(len(item.token_ids) for item in items) <= 24
    for item, scores in zip(items, policy.score(items, ("rank", "entropy")), strict=True):
        assert len(scores["rank"]) == len(scores["logprob"]) == len(item.token_ids)
        assert all(0 <= rank < 5 for rank in scores["rank"])
        assert all(logprob <= 0 for logprob in scores["logprob"])
        assert all(entropy >= 0 for entropy in scores["entropy"])


def test_it_can_be_asked_about_nothing(load: Load) -> None:
    """A round in which nothing arrived, or nothing was accepted, changes no weight."""
    policy = load()
    items = drawn_by(policy)
    before = logprobs(policy, items)
    assert policy.generate([]) == []
    assert list(policy.score([])) == []
    assert policy.step([], [], 0).tokens == 0
    assert policy.step(items, [None] * len(items), 1).tokens == 0
    assert logprobs(policy, items) == before


def test_its_figures_say_whether_it_learned(load: Load) -> None:
    """If `tokens` were learned from, what had the advantage is likelier than before; else same."""
    policy = load()
    items = drawn_by(policy)
    before = logprobs(policy, items)
    learned = sum(learn(policy, items, round_index).tokens for round_index in range(3))
    after = logprobs(policy, items)
    if not learned:
        assert after == before
        return
    gains = [sum(new) - sum(old) for new, old in zip(after, before, strict=True)]
    assert sum(gain * a for gain, a in zip(gains, ADVANTAGES, strict=True)) > 0


def test_it_learns_on_from_a_checkpoint_as_if_it_had_never_stopped(load: Load) -> None:
    """Its `state_dict` passes `torch.save` and a load that trusts nothing but tensors."""
    going_on, resumed = load(), load()
    items = drawn_by(going_on)
    learn(going_on, items)
    packed = io.BytesIO()
    torch.save(going_on.state_dict(), packed)
    packed.seek(0)
    resumed.load_state_dict(torch.load(packed, weights_only=True))
    assert logprobs(resumed, items) == logprobs(going_on, items)
    assert learn(resumed, items, 1) == learn(going_on, items, 1)
    assert resumed.generate(REQUESTS) == going_on.generate(REQUESTS)
    assert logprobs(resumed, items) == logprobs(going_on, items)


def test_a_clone_goes_its_own_way(load: Load) -> None:
    """Neither learns from what the other is taught, and both start from the same weights."""
    policy = load()
    items = drawn_by(policy)
    before = logprobs(policy, items)
    twin = policy.clone()
    assert logprobs(twin, items) == before
    learn(policy, items)
    taught = logprobs(policy, items)
    assert logprobs(twin, items) == before
    learn(twin, items)
    assert logprobs(twin, items) == taught
    learn(twin, items, 1)
    assert logprobs(policy, items) == taught
