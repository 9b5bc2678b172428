"""Sampling: keyed, independent of batching, drawn from the distribution that was asked for."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from dgrpo.errors import DgrpoError
from dgrpo.policy.decoding import RepeatedPrompts, SharedPrompts
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.noise import key_tensor, sampling_key
from dgrpo.policy.sampling import SampleRequest, choose, sample
from dgrpo.policy.scoring import ScoreItem, forward_pass
from dgrpo.policy.settings import ModelSettings, Sampling

PROMPTS = (
    "Question: There are 34 girls in the yard. How many kids are in the yard?\nAnswer:\n",
    "Question: Tom has 3 cows.\nAnswer:\n",
    "Question: A box of 12 pens costs 4 dollars. How much do 36 pens cost in all?\nAnswer:\n",
)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load_model(ModelSettings())


@pytest.fixture(scope="module")
def requests() -> list[SampleRequest]:
    return [SampleRequest(PROMPTS[i % 3], sampling_key("test", i)) for i in range(18)]


@pytest.fixture(scope="module")
def drawn(model: LanguageModel, requests: list[SampleRequest]) -> list[tuple[int, ...]]:
    return sample(model, requests, Sampling(max_tokens=32))


@torch.no_grad()
def plain_logits(model: LanguageModel, prompt: str, ids: tuple[int, ...]) -> torch.Tensor:
    """(tokens, vocabulary): what predicts each of `ids`, by one forward pass without a cache."""
    opening = model.encode(prompt)
    whole = torch.tensor([[*opening, *ids]])
    return model.network(input_ids=whole).logits[0, len(opening) - 1 : -1].float()


def test_every_token_is_the_keyed_choice_of_a_plain_forward_pass(
    model: LanguageModel, requests: list[SampleRequest], drawn: list[tuple[int, ...]]
) -> None:
    for request, ids in list(zip(requests, drawn, strict=True))[:9]:
        logits = plain_logits(model, request.prompt_text, ids)
        key = key_tensor([request.key], model.device)
        again = [int(choose(row[None], key, t, Sampling())) for t, row in enumerate(logits)]
        assert tuple(again) == ids


@pytest.mark.parametrize("rows", [1, 7, 18])
def test_ids_do_not_depend_on_how_many_rows_are_decoded_at_once(
    model: LanguageModel,
    requests: list[SampleRequest],
    drawn: list[tuple[int, ...]],
    rows: int,
) -> None:
    few = 3 if rows == 1 else len(requests)
    assert sample(model, requests[:few], Sampling(max_tokens=32), rows=rows) == drawn[:few]


def test_ids_do_not_depend_on_order_or_company(
    model: LanguageModel, requests: list[SampleRequest], drawn: list[tuple[int, ...]]
) -> None:
    order = list(range(len(requests)))
    random.Random(4).shuffle(order)
    mixed = sample(model, [requests[i] for i in order], Sampling(max_tokens=32))
    assert mixed == [drawn[i] for i in order]
    stranger = SampleRequest("Question: " + "long " * 40 + "?\nAnswer:\n", (1, 2))
    beside = sample(model, [stranger, requests[5], stranger], Sampling(max_tokens=32))
    assert beside[1] == drawn[5]
    assert beside[0] == beside[2]


def test_other_keys_draw_other_completions(
    requests: list[SampleRequest], drawn: list[tuple[int, ...]]
) -> None:
    assert len(set(drawn)) > len(drawn) // 2
    assert len({r.key for r in requests}) == len(requests)


def test_temperature_zero_takes_the_most_likely_token_whatever_the_key(
    model: LanguageModel,
) -> None:
    settings = Sampling(temperature=0, max_tokens=24)
    greedy = sample(model, [SampleRequest(p, (i, 9)) for i, p in enumerate(PROMPTS)], settings)
    again = sample(model, [SampleRequest(p, (77, i)) for i, p in enumerate(PROMPTS)], settings)
    assert greedy == again
    for prompt, ids in zip(PROMPTS, greedy, strict=True):
        best = plain_logits(model, prompt, ids).argmax(dim=-1)
        assert tuple(best.tolist()) == ids


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_choices_over_many_keys_follow_the_softmax_of_the_top_k(temperature: float) -> None:
    logits = torch.tensor([2.0, 1.5, 1.2, 0.3, 0.0, -0.5, -1.0, -3.0])
    settings = Sampling(top_k=5, temperature=temperature)
    wanted = (logits[:5] / temperature).softmax(dim=0)
    assert _chi_square(logits, settings, wanted) < 18.5  # 4 degrees of freedom: p = 0.001


def test_without_top_k_the_whole_vocabulary_is_drawn_from() -> None:
    logits = torch.tensor([0.1, 0.7, -0.4, 0.2, -1.0, 0.5])
    assert _chi_square(logits, Sampling(top_k=0), logits.softmax(dim=0)) < 20.5  # 5, p = 0.001
    assert _chi_square(logits, Sampling(top_k=600), logits.softmax(dim=0)) < 20.5


def test_first_tokens_of_the_model_follow_its_own_distribution(model: LanguageModel) -> None:
    text = PROMPTS[0]
    settings = Sampling(max_tokens=1, top_k=4)
    asked = [SampleRequest(text, sampling_key("first", i)) for i in range(4000)]
    counts = torch.bincount(
        torch.tensor([ids[0] for ids in sample(model, asked, settings)]), minlength=model.vocabulary
    )
    values, best = plain_logits(model, text, (0,))[0].topk(4)
    wanted = values.softmax(dim=0)
    assert int(counts[best].sum()) == 4000
    deviation = (wanted * (1 - wanted) / 4000).sqrt()
    assert ((counts[best] / 4000 - wanted).abs() < 4 * deviation).all()
    assert wanted.max() < 0.9  # otherwise this test could not fail


@pytest.mark.parametrize("top_k", [1, 3])
def test_no_token_outside_the_top_k_is_drawn(
    model: LanguageModel, requests: list[SampleRequest], top_k: int
) -> None:
    settings = Sampling(max_tokens=24, top_k=top_k, temperature=3.0)
    seen = set()
    for request, ids in zip(requests[:6], sample(model, requests[:6], settings), strict=True):
        logits = plain_logits(model, request.prompt_text, ids)
        own = logits.gather(1, torch.tensor(ids)[:, None])
        ranks = (logits > own).sum(dim=1)
        assert int(ranks.max()) < top_k
        seen |= set(ranks.tolist())
    assert seen == set(range(top_k))


@pytest.mark.parametrize(
    ("top_p", "top_k", "allowed"),
    [
        (0.45, 0, {3}),
        (0.6, 0, {3, 1}),
        (0.9, 0, {3, 1, 0}),
        (0.99, 0, {3, 1, 0, 2}),
        (1.0, 0, {3, 1, 0, 2, 4}),
        (0.9, 2, {3, 1}),
        # of the top 3, renormalised: 0.526, 0.316, 0.158
        (0.84, 3, {3, 1}),
    ],
)
def test_top_p_keeps_the_smallest_set_with_that_much_probability(
    top_p: float, top_k: int, allowed: set[int]
) -> None:
    logits = torch.tensor([0.15, 0.3, 0.047, 0.5, 0.003]).log()
    settings = Sampling(top_p=top_p, top_k=top_k)
    assert set(_choices(logits, settings, 5000).tolist()) == allowed


def test_top_p_keeps_the_proportions_of_what_is_left() -> None:
    probabilities = torch.tensor([0.15, 0.3, 0.047, 0.5, 0.003])
    left = torch.tensor([0.15, 0.3, 0.0, 0.5, 0.0])
    settings = Sampling(top_p=0.9, top_k=0)
    chi = _chi_square(probabilities.log(), settings, left / left.sum())
    assert chi < 13.8  # 2 degrees of freedom: p = 0.001


@pytest.mark.parametrize("max_tokens", [1, 2, 17])
def test_no_completion_is_longer_than_max_tokens(
    model: LanguageModel, requests: list[SampleRequest], max_tokens: int
) -> None:
    drawn = sample(model, requests, Sampling(max_tokens=max_tokens))
    assert max(map(len, drawn)) == max_tokens
    assert all(ids for ids in drawn)


def test_a_shorter_limit_cuts_the_same_completions(
    model: LanguageModel, requests: list[SampleRequest], drawn: list[tuple[int, ...]]
) -> None:
    assert sample(model, requests, Sampling(max_tokens=10)) == [ids[:10] for ids in drawn]


def test_the_end_token_is_last_and_only_missing_at_the_limit(
    model: LanguageModel, requests: list[SampleRequest]
) -> None:
    drawn = sample(model, requests, Sampling(max_tokens=60))
    ended = [ids for ids in drawn if ids[-1] == model.end_id]
    cut = [ids for ids in drawn if ids[-1] != model.end_id]
    assert ended
    assert cut
    assert all(model.end_id not in ids[:-1] for ids in drawn)
    assert all(len(ids) == 60 for ids in cut)
    assert len({len(ids) for ids in ended}) > 1


@pytest.mark.parametrize("decoder", [SharedPrompts, RepeatedPrompts])
def test_a_model_trained_in_bfloat16_draws_what_its_scores_say(
    decoder: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to rounding: its sampling and its scoring are computed in bfloat16 alike."""
    mixed = load_model(ModelSettings(dtype="bfloat16"), trained=True)
    monkeypatch.setattr("dgrpo.policy.sampling.start_decoding", decoder)
    asked = [SampleRequest(PROMPTS[i % 3], sampling_key("mixed", i)) for i in range(12)]
    drawn = sample(mixed, asked, Sampling(max_tokens=32, temperature=0), finite=True)
    items = [ScoreItem(r.prompt_text, ids) for r, ids in zip(asked, drawn, strict=True)]
    with torch.no_grad():
        scored = forward_pass(mixed, items, statistics=("rank",)).statistics()
        ranks = [rank for one in scored for rank in one["rank"]]
    assert sum(rank == 0 for rank in ranks) > 0.9 * len(ranks)
    assert max(ranks) < 4  # ties and near ties


def test_a_ruined_model_draws_nothing_where_numbers_must_be_finite() -> None:
    ruined = load_model(ModelSettings())
    with torch.no_grad():
        next(ruined.network.parameters()).mul_(torch.nan)
    asked = [SampleRequest(PROMPTS[1], (1, 2))]
    with pytest.raises(DgrpoError, match="not finite") as caught:
        sample(ruined, asked, Sampling(max_tokens=4), finite=True)
    assert "learner.learning_rate" in caught.value.remedy
    assert sample(ruined, asked, Sampling(max_tokens=4))  # a judge: a reply that cannot be read


def test_no_requests_give_no_completions(model: LanguageModel) -> None:
    assert sample(model, [], Sampling()) == []


def test_sampling_uses_no_global_random_state(
    model: LanguageModel, requests: list[SampleRequest]
) -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    sample(model, requests[:4], Sampling(max_tokens=8, top_p=0.9))
    sample(model, requests[:4], Sampling(max_tokens=8))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])


def test_the_smallest_id_wins_a_tie_whatever_the_candidates_order() -> None:
    # devices order topk's candidates in their own ways
    noiseless = 1e-30  # too little to part equal logits
    logits = torch.zeros(1, 1024)
    logits[0, [900, 17, 512, 3 * 17]] = 5.0
    for sampling in (
        Sampling(top_k=4, temperature=noiseless),
        Sampling(top_k=50, temperature=noiseless),
        Sampling(top_k=0, temperature=noiseless),
        Sampling(temperature=0),
    ):
        assert _choices(logits[0], sampling, 3).tolist() == [17] * 3


def test_of_logits_that_are_not_numbers_one_such_is_chosen() -> None:
    logits = torch.randn(1024, generator=torch.Generator().manual_seed(0))
    logits[[7, 300]] = torch.nan
    for sampling in (Sampling(), Sampling(top_k=0), Sampling(top_p=0.9)):
        assert set(_choices(logits, sampling, 4).tolist()) <= set(range(1024))
    assert set(_choices(logits, Sampling(top_k=0), 4).tolist()) <= {7, 300}


def _choices(logits: torch.Tensor, settings: Sampling, draws: int) -> torch.Tensor:
    keys = key_tensor([sampling_key("chi", i) for i in range(draws)], torch.device("cpu"))
    return choose(logits.expand(draws, -1), keys, 0, settings)


def _chi_square(logits: torch.Tensor, settings: Sampling, wanted: torch.Tensor) -> float:
    """Pearson's statistic of 20,000 choices; a choice that may not occur makes it infinite."""
    counts = torch.bincount(_choices(logits, settings, 20_000), minlength=len(logits)).double()
    expected = torch.zeros(len(logits), dtype=torch.float64)
    expected[: len(wanted)] = wanted.double() * 20_000
    if int(counts[expected == 0].sum()):
        return float("inf")
    possible = expected > 0
    return float(((counts - expected)[possible] ** 2 / expected[possible]).sum())
