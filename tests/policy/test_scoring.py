"""Scoring: what a plain forward pass over prompt + completion gives, gradient included."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.policy.tiny_models import of_family

from dgrpo.errors import DgrpoError
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.noise import key_tensor, sampling_key
from dgrpo.policy.sampling import SampleRequest, choose, sample
from dgrpo.policy.scoring import ForwardPass, ScoreItem, forward_pass
from dgrpo.policy.settings import ModelSettings, Sampling

RANK = ("rank",)
PROMPTS = (
    "Question: There are 34 girls in the yard. How many kids are in the yard?\nAnswer:\n",
    "Question: Tom has 3 cows.\nAnswer:\n",
    "Question: A box of 12 pens costs 4 dollars. How much do 36 pens cost in all?\nAnswer:\n",
)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load_model(ModelSettings())


@pytest.fixture(scope="module", params=["some layers", "all layers"])
def windowed(model: LanguageModel, request: pytest.FixtureRequest) -> LanguageModel:
    """Attention cut to 12 tokens: of the shipped model's second layer, or of a tiny Mistral.

    Mistral's configuration has no `layer_types`; its window holds for all layers.
    """
    if request.param == "all layers":
        return of_family(model, "mistral", sliding_window=12)
    config = copy.deepcopy(model.network.config)
    config.use_sliding_window, config.sliding_window = True, 12
    config.layer_types = ["full_attention", "sliding_attention", "full_attention"]
    network = type(model.network)(config)
    network.load_state_dict(model.network.state_dict())
    return LanguageModel(network.eval(), model.tokenizer)


def without_window(windowed: LanguageModel) -> LanguageModel:
    """The same weights, attending to everything."""
    config = copy.deepcopy(windowed.network.config)
    config.sliding_window = None
    if getattr(config, "layer_types", None):
        config.layer_types = ["full_attention"] * config.num_hidden_layers
    network = type(windowed.network)(config)
    network.load_state_dict(windowed.network.state_dict())
    return LanguageModel(network.eval(), windowed.tokenizer)


@pytest.fixture(scope="module")
def items(model: LanguageModel) -> list[ScoreItem]:
    """Sampled completions of three prompts, a written one, one token and an unlikely text."""
    asked = [SampleRequest(PROMPTS[i % 3], sampling_key("score", i)) for i in range(9)]
    drawn = sample(model, asked, Sampling(max_tokens=40))
    return [
        *(ScoreItem(r.prompt_text, ids) for r, ids in zip(asked, drawn, strict=True)),
        ScoreItem(PROMPTS[1], (model.end_id,)),
        ScoreItem(PROMPTS[0], model.encode_completion("<think> 34 </think> <answer> 7 </answer>")),
        ScoreItem(PROMPTS[2], model.encode_completion("zebra zebra ÷ %% Q")),
        ScoreItem(PROMPTS[0], drawn[0]),
    ]


def plain(model: LanguageModel, item: ScoreItem, temperature: float = 1.0) -> torch.Tensor:
    """Log-probabilities (tokens, vocabulary) by one forward pass over the whole sequence."""
    opening = model.encode(item.prompt_text)
    whole = torch.tensor([[*opening, *item.token_ids]])
    logits = model.network(input_ids=whole, use_cache=False).logits[0, len(opening) - 1 : -1]
    return (logits.float() / temperature).log_softmax(dim=-1)


def own(logprobs: torch.Tensor, item: ScoreItem) -> torch.Tensor:
    return logprobs.gather(1, torch.tensor(item.token_ids)[:, None]).squeeze(1)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_logprobs_are_those_of_a_plain_forward_pass(
    model: LanguageModel, items: list[ScoreItem], temperature: float
) -> None:
    with torch.no_grad():
        ours = forward_pass(model, items, temperature=temperature).statistics()
        for scores, item in zip(ours, items, strict=True):
            wanted = own(plain(model, item, temperature), item)
            torch.testing.assert_close(
                torch.tensor(scores["logprob"]), wanted, atol=1e-4, rtol=1e-4
            )


def test_ranks_count_the_entries_with_a_larger_logit(
    model: LanguageModel, items: list[ScoreItem]
) -> None:
    with torch.no_grad():
        scored = forward_pass(model, items, statistics=RANK).statistics()
        for scores, item in zip(scored, items, strict=True):
            logprobs = plain(model, item)
            mine = own(logprobs, item)[:, None]
            ranks = torch.tensor(scores["rank"])
            # entries that rounding could put on either side may be counted or not
            assert ((logprobs > mine + 1e-4).sum(dim=1) <= ranks).all()
            assert ((logprobs > mine - 1e-4).sum(dim=1) - 1 >= ranks).all()
        assert max(scored[11]["rank"]) > 200  # the unlikely text


def test_sampled_tokens_rank_within_the_top_k_they_were_drawn_from(model: LanguageModel) -> None:
    asked = [SampleRequest(PROMPTS[i % 3], sampling_key("ranks", i)) for i in range(12)]
    drawn = sample(model, asked, Sampling(max_tokens=32, top_k=20, temperature=1.5))
    items = [ScoreItem(r.prompt_text, ids) for r, ids in zip(asked, drawn, strict=True)]
    with torch.no_grad():
        scored = forward_pass(model, items, statistics=RANK).statistics()
    ranks = [rank for scores in scored for rank in scores["rank"]]
    assert 10 < max(ranks) < 20


@pytest.mark.parametrize("bucket_tokens", [1, 64, 10**6])
def test_results_do_not_depend_on_bucket_size(
    model: LanguageModel, items: list[ScoreItem], bucket_tokens: int
) -> None:
    with torch.no_grad():
        usual = forward_pass(model, items, statistics=RANK)
        other = forward_pass(model, items, statistics=RANK, bucket_tokens=bucket_tokens)
    torch.testing.assert_close(other.logprobs, usual.logprobs, atol=1e-4, rtol=1e-4)
    assert torch.equal(other.others["rank"], usual.others["rank"])
    assert torch.equal(other.lengths, usual.lengths)


def test_results_do_not_depend_on_order_or_company(
    model: LanguageModel, items: list[ScoreItem]
) -> None:
    with torch.no_grad():
        together = forward_pass(model, items, statistics=RANK).statistics()
        alone = [forward_pass(model, [i], statistics=RANK).statistics()[0] for i in items]
        backwards = forward_pass(model, items[::-1], statistics=RANK).statistics()[::-1]
    for other in (alone, backwards):
        for ours, theirs in zip(together, other, strict=True):
            assert theirs["logprob"] == pytest.approx(ours["logprob"], abs=1e-4)
            assert theirs["rank"] == ours["rank"]
    # equal items are equal
    assert together[0]["logprob"] == pytest.approx(together[-1]["logprob"], abs=1e-5)


def test_one_token_completion_is_scored_from_the_prompt_alone(model: LanguageModel) -> None:
    items = [ScoreItem(prompt, (model.end_id,)) for prompt in PROMPTS]
    with torch.no_grad():
        result = forward_pass(model, items)
        wanted = torch.stack([own(plain(model, item), item) for item in items])
    assert result.logprobs.shape == (3, 1)
    torch.testing.assert_close(result.logprobs, wanted, atol=1e-4, rtol=1e-4)


def test_nothing_stands_beyond_an_items_length(
    model: LanguageModel, items: list[ScoreItem]
) -> None:
    with torch.no_grad():
        result = forward_pass(model, items, statistics=RANK)
    lengths = [len(item.token_ids) for item in items]
    assert result.lengths.tolist() == lengths
    assert result.mask.sum(dim=1).tolist() == lengths
    assert result.logprobs.shape == result.others["rank"].shape == (len(items), max(lengths))
    assert (result.logprobs[~result.mask] == 0).all()
    assert (result.others["rank"][~result.mask] == 0).all()
    assert (result.logprobs[result.mask] < 0).all()
    for scores, length in zip(result.statistics(), lengths, strict=True):
        assert len(scores["logprob"]) == len(scores["rank"]) == length


def test_statistics_that_nobody_asks_for_are_left_out(
    model: LanguageModel, items: list[ScoreItem]
) -> None:
    with torch.no_grad():
        without = forward_pass(model, items)
        usual = forward_pass(model, items, statistics=RANK)
    assert torch.equal(without.logprobs, usual.logprobs)
    assert without.others == {}
    with pytest.raises(KeyError):
        without.statistics()[0]["rank"]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_entropy_is_that_of_the_distribution_a_token_is_drawn_from(
    model: LanguageModel, items: list[ScoreItem], temperature: float
) -> None:
    with torch.no_grad():
        scored = forward_pass(model, items, temperature=temperature, statistics=("entropy",))
        for scores, item in zip(scored.statistics(), items, strict=True):
            logprobs = plain(model, item, temperature)
            wanted = torch.distributions.Categorical(logits=logprobs).entropy()
            torch.testing.assert_close(
                torch.tensor(scores["entropy"]), wanted, atol=1e-4, rtol=1e-4
            )


def test_an_unknown_statistic_is_named_with_the_nearest_one(
    model: LanguageModel, items: list[ScoreItem]
) -> None:
    with pytest.raises(DgrpoError, match="no statistic per token is called 'rnak'") as caught:
        forward_pass(model, items, statistics=("rnak",))
    assert "'rank'" in caught.value.remedy


@pytest.mark.parametrize("bucket_tokens", [64, 4096])
def test_gradients_are_those_of_plain_forward_passes(
    items: list[ScoreItem], bucket_tokens: int
) -> None:
    model = load_model(ModelSettings())
    weights = torch.linspace(-1, 1, len(items))
    ours = forward_pass(model, items, bucket_tokens=bucket_tokens)
    ours_gradient = _gradient(model, _weighted(ours, weights))
    total = torch.zeros(())
    for weight, item in zip(weights, items, strict=True):
        total = total + weight * own(plain(model, item), item).sum()
    wanted = _gradient(model, total)
    largest = max(float(g.abs().max()) for g in wanted.values())
    assert largest > 1  # there is something to agree about
    for name, gradient in wanted.items():
        torch.testing.assert_close(
            ours_gradient[name],
            gradient,
            rtol=1e-3,
            atol=1e-5 * largest,
            msg=lambda m, n=name: n + m,
        )


def test_windowed_models_are_scored_as_plain_forward_passes_score_them(
    windowed: LanguageModel, items: list[ScoreItem]
) -> None:
    # a window shorter than a prompt: what a prompt leaves behind cannot simply be shared
    whole = without_window(windowed)
    with torch.no_grad():
        assert not torch.allclose(plain(windowed, items[0]), plain(whole, items[0]), atol=0.01)
        scored = forward_pass(windowed, items).statistics()
        for scores, item in zip(scored, items, strict=True):
            wanted = own(plain(windowed, item), item)
            torch.testing.assert_close(
                torch.tensor(scores["logprob"]), wanted, atol=1e-4, rtol=1e-4
            )


def test_windowed_models_draw_the_keyed_choice_of_a_plain_forward_pass(
    windowed: LanguageModel,
) -> None:
    asked = [SampleRequest(PROMPTS[i % 3], sampling_key("window", i)) for i in range(6)]
    for request, ids in zip(asked, sample(windowed, asked, Sampling(max_tokens=24)), strict=True):
        logprobs = plain(windowed, ScoreItem(request.prompt_text, ids)).detach()
        key = key_tensor([request.key], windowed.device)
        again = [int(choose(row[None], key, t, Sampling())) for t, row in enumerate(logprobs)]
        assert tuple(again) == ids


def test_scoring_without_gradients_keeps_no_graph(
    model: LanguageModel, items: list[ScoreItem]
) -> None:
    with torch.no_grad():
        assert not forward_pass(model, items[:2]).logprobs.requires_grad
    assert forward_pass(model, items[:2]).logprobs.requires_grad


def test_scoring_uses_no_global_random_state(model: LanguageModel, items: list[ScoreItem]) -> None:
    before = torch.get_rng_state()
    forward_pass(model, items[:3])
    assert torch.equal(torch.get_rng_state(), before)


def _weighted(result: ForwardPass, weights: torch.Tensor) -> torch.Tensor:
    return (result.logprobs.sum(dim=1) * weights).sum()


def _gradient(model: LanguageModel, value: torch.Tensor) -> dict[str, torch.Tensor]:
    model.network.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    return {n: p.grad.clone() for n, p in model.network.named_parameters() if p.grad is not None}
