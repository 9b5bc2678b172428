"""The learner: one round's update, however it is cut up, kept, copied, saved or resumed."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch

from dgrpo.errors import DgrpoError
from dgrpo.learning.learner import Learner
from dgrpo.learning.settings import LearnerSettings
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.scoring import ScoreItem
from dgrpo.policy.settings import ModelSettings, Sampling

PROMPTS = (
    "Question: There are 34 girls in the yard. How many kids are in the yard?\nAnswer:\n",
    "Question: Tom has 3 cows.\nAnswer:\n",
    "Question: A box of 12 pens costs 4 dollars. How much do 36 pens cost in all?\nAnswer:\n",
)
MAX_TOKENS = 16
ADVANTAGES = [1.5, -0.5, -0.5, -0.5, 0.0, 0.0, 0.0, 0.0, 0.9, -0.9, 0.9, -0.9]


@pytest.fixture(scope="module")
def base() -> LanguageModel:
    """The model before any update; tests clone it."""
    return load_model(ModelSettings())


@pytest.fixture(scope="module")
def items(base: LanguageModel) -> list[ScoreItem]:
    """Three groups of four completions."""
    asked = [SampleRequest(p, sampling_key("learn", i)) for p in PROMPTS for i in range(4)]
    drawn = sample(base, asked, Sampling(max_tokens=MAX_TOKENS))
    return [
        ScoreItem(r.prompt_text, ids[: MAX_TOKENS - i % 5])
        for i, (r, ids) in enumerate(zip(asked, drawn, strict=True))
    ]


def learner(base: LanguageModel, temperature: float = 1.0, **settings: Any) -> Learner:
    return Learner(
        base.clone(),
        LearnerSettings(**{"warmup_rounds": 0, **settings}),
        Sampling(max_tokens=MAX_TOKENS, temperature=temperature),
        completions=12,
    )


def weights(one: Learner) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in one.model.network.named_parameters()}


def same(ours: Learner, theirs: Learner) -> bool:
    return ours.model.weights_digest() == theirs.model.weights_digest()


def distance(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """Norm of the difference over all weights."""
    return float(sum(((ours[n] - theirs[n]) ** 2).sum() for n in theirs) ** 0.5)


# --- what a step does


def paper_loss(model: LanguageModel, items: list[ScoreItem]) -> torch.Tensor:
    """−1/G Σ_i Â_i/|a_i| Σ_t log π(a_t): the paper's loss with the ratio's value of 1 left out."""
    total = torch.zeros(())
    for item, advantage in zip(items, ADVANTAGES, strict=True):
        opening = model.encode(item.prompt_text)
        whole = torch.tensor([[*opening, *item.token_ids]])
        logits = model.network(input_ids=whole, use_cache=False).logits[0, len(opening) - 1 : -1]
        targets = torch.tensor(item.token_ids)[:, None]
        logprobs = logits.float().log_softmax(dim=-1).gather(1, targets)
        total = total - advantage * logprobs.sum() / len(item.token_ids) / len(items)
    return total


def test_a_step_is_adam_on_the_papers_gradient(base: LanguageModel, items: list[ScoreItem]) -> None:
    ours = learner(base, learning_rate=3e-4, max_gradient_norm=0.5)
    stats = ours.step(items, ADVANTAGES, 0)
    plain = base.clone()
    parameters = list(plain.network.parameters())
    adam = torch.optim.Adam(parameters, lr=3e-4)
    paper_loss(plain, items).backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(parameters, 0.5)
    adam.step()
    assert stats.gradient_norm == pytest.approx(float(norm), rel=1e-4)
    assert stats.gradient_norm > 0.5  # so that scaling down matters
    wanted = {n: p.detach() for n, p in plain.network.named_parameters()}
    moved = distance(wanted, weights(learner(base)))
    assert distance(weights(ours), wanted) < 1e-3 * moved


def test_gradient_has_the_slope_of_the_papers_loss(
    base: LanguageModel, items: list[ScoreItem]
) -> None:
    # central difference of the surrogate along the gradient's own direction: its norm
    ours = learner(base, max_gradient_norm=float("inf"))
    norm = ours.step(items, ADVANTAGES, 0).gradient_norm
    plain = base.clone()
    paper_loss(plain, items).backward()  # type: ignore[no-untyped-call]
    length, values = 1e-3, []
    direction = {
        n: p.grad / norm for n, p in plain.network.named_parameters() if p.grad is not None
    }
    for sign in (1, -1):
        moved = base.clone()
        with torch.no_grad():
            for name, parameter in moved.network.named_parameters():
                parameter.add_(direction[name], alpha=sign * length)
            values.append(float(paper_loss(moved, items)))
    assert (values[0] - values[1]) / (2 * length) == pytest.approx(norm, rel=0.01)


def test_step_raises_what_was_better_than_its_group_and_lowers_the_rest(
    base: LanguageModel, items: list[ScoreItem]
) -> None:
    ours = learner(base, learning_rate=1e-4)
    before = [sum(s["logprob"]) for s in ours.score(items)]
    ours.step(items, ADVANTAGES, 0)
    after = [sum(s["logprob"]) for s in ours.score(items)]
    gained = sum(a * (y - x) for a, x, y in zip(ADVANTAGES, before, after, strict=True))
    assert gained > 0
    assert after[0] > before[0]


def test_loss_divides_by_the_configured_completions_even_when_some_are_left_out(
    base: LanguageModel, items: list[ScoreItem]
) -> None:
    whole = learner(base).step(items, ADVANTAGES, 0)
    left = [i for i, a in zip(items, ADVANTAGES, strict=True) if a]
    kept = learner(base).step(left, [a for a in ADVANTAGES if a], 0)
    assert kept.loss == pytest.approx(whole.loss, rel=1e-5, abs=1e-7)
    assert kept.gradient_norm == pytest.approx(whole.gradient_norm, rel=1e-4)


def test_warm_up_raises_the_rate_linearly(base: LanguageModel, items: list[ScoreItem]) -> None:
    start = weights(learner(base))

    def moved(round_index: int) -> float:
        ours = learner(base, warmup_rounds=4)
        ours.step(items, ADVANTAGES, round_index)
        return distance(weights(ours), start)

    full = moved(3)
    assert [moved(i) / full for i in (0, 1, 9)] == pytest.approx([0.25, 0.5, 1.0], rel=1e-3)


# --- how the work is cut up does not matter


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("normalisation", ["grpo", "dr_grpo", "dapo"])
def test_accumulating_over_passes_gives_the_same_weights(
    base: LanguageModel, items: list[ScoreItem], normalisation: str, groups: int
) -> None:
    whole = learner(base, normalisation=normalisation)
    cut = learner(base, normalisation=normalisation, groups_per_pass=groups)
    scored = cut.score(items, ("rank",), keep=True)
    for ours, theirs in zip(scored, whole.score(items, ("rank",), keep=True), strict=True):
        assert ours["logprob"] == pytest.approx(theirs["logprob"], abs=1e-4)
        assert ours["rank"] == theirs["rank"]
    mine, theirs = cut.step(items, ADVANTAGES, 0), whole.step(items, ADVANTAGES, 0)
    assert mine.loss == pytest.approx(theirs.loss, rel=1e-4, abs=1e-6)
    assert mine.gradient_norm == pytest.approx(theirs.gradient_norm, rel=1e-4)
    assert mine.tokens == theirs.tokens
    moved = distance(weights(whole), weights(learner(base)))
    assert distance(weights(cut), weights(whole)) < 1e-3 * moved


def test_several_prompts_share_a_pass_up_to_the_limit(
    base: LanguageModel, items: list[ScoreItem]
) -> None:
    sizes = {
        groups: [len(chunk) for chunk in learner(base, groups_per_pass=groups)._chunks(items)]
        for groups in (1, 2, 3, None)
    }
    assert sizes == {1: [4, 4, 4], 2: [8, 4], 3: [12], None: [12]}


def test_keeping_the_forward_pass_does_not_change_the_update(
    base: LanguageModel, items: list[ScoreItem]
) -> None:
    kept, again, unscored = (learner(base, keep_forward=k) for k in (True, False, True))
    assert kept.score(items, keep=True) == again.score(items, keep=True)
    reports = [one.step(items, ADVANTAGES, 0) for one in (kept, again, unscored)]
    for report in reports[1:]:
        assert report.loss == pytest.approx(reports[0].loss, rel=1e-4, abs=1e-6)
        assert report.gradient_norm == pytest.approx(reports[0].gradient_norm, rel=1e-4)
        assert report.tokens == reports[0].tokens
    moved = distance(weights(kept), weights(learner(base)))
    for one in (again, unscored):
        assert distance(weights(one), weights(kept)) < 1e-3 * moved


def test_a_kept_pass_serves_only_the_items_it_scored(
    base: LanguageModel, items: list[ScoreItem]
) -> None:
    other, direct = learner(base), learner(base)
    other.score(items[:5], keep=True)
    other.step(items, ADVANTAGES, 0)
    direct.step(items, ADVANTAGES, 0)
    assert same(other, direct)


def test_other_texts_scored_meanwhile_do_not_take_the_place_of_a_kept_pass(
    base: LanguageModel, items: list[ScoreItem]
) -> None:
    asked, undisturbed = learner(base), learner(base)
    for one in (asked, undisturbed):
        one.score(items, keep=True)
    asked.score(items[:5])
    for one in (asked, undisturbed):
        one.step(items, ADVANTAGES, 0)
    assert same(asked, undisturbed)


@pytest.mark.parametrize(
    ("settings", "keep"),
    [({}, False), ({"keep_forward": False}, True), ({"groups_per_pass": 1}, True)],
)
def test_no_pass_is_kept_unless_it_is_asked_for_and_memory_is_unbounded(
    base: LanguageModel, items: list[ScoreItem], settings: dict[str, Any], keep: bool
) -> None:
    ours, unscored = learner(base, **settings), learner(base, **settings)
    ours.score(items, keep=keep)
    assert ours._kept is None
    for one in (ours, unscored):
        one.step(items, ADVANTAGES, 0)
    assert same(ours, unscored)


def test_a_kept_pass_is_not_used_after_the_weights_moved(
    base: LanguageModel, items: list[ScoreItem]
) -> None:
    stale, direct = learner(base), learner(base)
    for one in (stale, direct):
        one.step(items, ADVANTAGES, 0)
    stale.score(items, keep=True)
    stale.load_state_dict(learner(base).state_dict())  # back to the start, momentum included
    stale.step(items, ADVANTAGES, 0)
    assert same(stale, direct)


@pytest.mark.parametrize("keep_forward", [True, False])
def test_zero_advantages_contribute_nothing(
    base: LanguageModel, items: list[ScoreItem], keep_forward: bool
) -> None:
    """Whatever stands in a completion that was left out, the update is the same."""
    taught = [bool(a) for a in ADVANTAGES]
    other = [
        item if used else ScoreItem(item.prompt_text, base.encode_completion("zebra " * 9))
        for item, used in zip(items, taught, strict=True)
    ]
    ours, theirs = (learner(base, keep_forward=keep_forward) for _ in range(2))
    ours.score(items, keep=True)
    theirs.score(other, keep=True)
    ours.step(items, ADVANTAGES, 0)
    theirs.step(other, ADVANTAGES, 0)
    moved = distance(weights(ours), weights(learner(base)))
    assert moved > 0.01
    assert distance(weights(theirs), weights(ours)) < 1e-3 * moved


def test_nothing_to_learn_leaves_weights_and_optimiser_alone(
    base: LanguageModel, items: list[ScoreItem]
) -> None:
    ours = learner(base)
    ours.step(items, ADVANTAGES, 0)
    before, state = weights(ours), copy.deepcopy(ours.optimiser.state_dict()["state"])
    for round_items in (items, []):
        stats = ours.step(round_items, [0.0] * len(round_items), 1)
        assert (stats.loss, stats.gradient_norm, stats.tokens) == (0.0, 0.0, 0)
    assert distance(weights(ours), before) == 0
    assert ours.optimiser.state_dict()["state"][0]["step"] == state[0]["step"]
    assert ours.score([]) == []


# --- several updates per round


def test_clipping_bounds_what_several_updates_do(
    base: LanguageModel, items: list[ScoreItem]
) -> None:
    start = weights(learner(base))
    one, free, clipped = (
        learner(base, updates_per_round=n, clip_low=clip, clip_high=clip)
        for n, clip in ((1, None), (4, None), (4, 0.01))
    )
    for each in (one, free, clipped):
        each.step(items, ADVANTAGES, 0)
    for ours, theirs in itertools.combinations((one, free, clipped), 2):
        assert not same(ours, theirs)
    assert distance(weights(free), start) > 1.5 * distance(weights(one), start)
    # ratios, at the end of the round, to the weights that generated
    before = learner(base).score(items)

    def movement(one: Learner) -> float:
        """Sum of log-ratios in the direction of each advantage."""
        pairs = zip(one.score(items), before, ADVANTAGES, strict=True)
        return sum(
            (y - x) * (1 if a > 0 else -1)
            for after, old, a in pairs
            if a
            for x, y in zip(old["logprob"], after["logprob"], strict=True)
        )

    assert movement(clipped) < movement(free)


def test_clipping_does_nothing_to_a_single_update(
    base: LanguageModel, items: list[ScoreItem]
) -> None:
    plain, clipped = learner(base), learner(base, clip_low=0.2, clip_high=0.2)
    plain.step(items, ADVANTAGES, 0)
    clipped.step(items, ADVANTAGES, 0)
    moved = distance(weights(plain), weights(learner(base)))
    assert distance(weights(clipped), weights(plain)) < 1e-3 * moved


def test_kl_pulls_back_to_the_starting_weights(base: LanguageModel, items: list[ScoreItem]) -> None:
    start = weights(learner(base))

    def strayed(beta: float) -> float:
        ours = learner(base, beta=beta, learning_rate=3e-4)
        for round_index in range(6):
            ours.step(items, ADVANTAGES, round_index)
        return distance(weights(ours), start)

    assert strayed(3.0) < 0.9 * strayed(0.0)


# --- copies and checkpoints


def test_a_clone_is_equal_and_goes_its_own_way(base: LanguageModel, items: list[ScoreItem]) -> None:
    other_items, other_advantages = items[:4], ADVANTAGES[:4]
    original, alone, alone_other = (learner(base) for _ in range(3))
    for one in (original, alone, alone_other):
        one.step(items, ADVANTAGES, 0)
    twin = original.clone()
    assert same(twin, original)
    # interleaved: neither weights nor optimiser state may leak from one into the other
    for round_index in (1, 2):
        twin.step(other_items, other_advantages, round_index)
        original.step(items, ADVANTAGES, round_index)
        alone.step(items, ADVANTAGES, round_index)
        alone_other.step(other_items, other_advantages, round_index)
    assert same(original, alone)
    assert same(twin, alone_other)
    assert not same(twin, original)


def test_a_clone_does_not_inherit_a_kept_pass(base: LanguageModel, items: list[ScoreItem]) -> None:
    original, scored, unscored = (learner(base) for _ in range(3))
    original.score(items, keep=True)
    scored.score(items, keep=True)
    twin = original.clone()
    for one in (twin, original, scored, unscored):
        one.step(items, ADVANTAGES, 0)
    assert same(twin, unscored)
    assert same(original, scored)


@pytest.mark.parametrize("settings", [{}, {"beta": 0.1}])
def test_a_saved_state_goes_on_identically(
    base: LanguageModel, items: list[ScoreItem], settings: dict[str, float]
) -> None:
    ours = learner(base, **settings)
    ours.step(items, ADVANTAGES, 0)
    saved = copy.deepcopy(ours.state_dict())
    resumed = learner(base, **settings)
    resumed.load_state_dict(saved)
    for round_index in (1, 2):
        for one in (ours, resumed):
            one.score(items, keep=True)
            one.step(items[::-1], ADVANTAGES, round_index)
    assert same(ours, resumed)
    # what was saved is not moved by going on from it
    third = learner(base, **settings)
    third.load_state_dict(saved)
    for round_index in (1, 2):
        third.step(items[::-1], ADVANTAGES, round_index)
    assert same(third, ours)


# --- faults


@pytest.mark.parametrize("keep_forward", [True, False])
def test_a_loss_that_is_not_finite_stops_with_round_and_remedy(
    base: LanguageModel, items: list[ScoreItem], keep_forward: bool
) -> None:
    ours = learner(base, keep_forward=keep_forward, groups_per_pass=1)
    with torch.no_grad():
        ours.model.network.get_input_embeddings().weight[items[-1].token_ids[0]] = torch.nan
    before = ours.model.weights_digest()
    ours.score(items, keep=True)
    with pytest.raises(DgrpoError) as caught:
        ours.step(items, ADVANTAGES, 17)
    message = str(caught.value)
    assert "round 17" in message
    assert "not finite" in message
    assert "learner.learning_rate" in message
    assert items[0].prompt_text[:20] in message
    assert ours.model.weights_digest() == before
    assert not ours.optimiser.state_dict()["state"]
    assert all(p.grad is None for p in ours.parameters)


def test_a_rate_that_blows_the_weights_up_is_noticed_in_the_next_round(
    base: LanguageModel, items: list[ScoreItem]
) -> None:
    ours = learner(base, learning_rate=1e30, max_gradient_norm=float("inf"))
    ours.step(items, ADVANTAGES, 0)
    with pytest.raises(DgrpoError, match=r"round 1: the loss is not finite"):
        ours.step(items, ADVANTAGES, 1)


def test_a_step_that_makes_weights_infinite_stops_with_round_and_weight(
    base: LanguageModel, items: list[ScoreItem]
) -> None:
    """At once: a round in which no group teaches anything would not notice."""
    ours = learner(base)
    ours.step(items, ADVANTAGES, 3)
    for state in ours.optimiser.state.values():
        state["exp_avg"].fill_(torch.inf)
    with pytest.raises(DgrpoError, match=r"round 4: .* weights .* not finite, first in model\."):
        ours.step(items, ADVANTAGES, 4)


def test_small_steps_in_bfloat16_are_taken(items: list[ScoreItem]) -> None:
    """Of weights that were bfloat16 themselves they would move next to none."""
    mixed = load_model(ModelSettings(dtype="bfloat16"), trained=True)
    ours = learner(mixed, learning_rate=1e-6)
    ours.score(items, keep=True)
    ours.step(items, ADVANTAGES, 0)
    after = weights(ours)
    moved = sum(int((after[n] != p).sum()) for n, p in mixed.network.named_parameters())
    assert moved > 0.5 * sum(p.numel() for p in ours.parameters)
    assert ours.model.autocast


def test_bfloat16_learns_what_float32_does(base: LanguageModel, items: list[ScoreItem]) -> None:
    start = weights(learner(base))
    ours = learner(load_model(ModelSettings(dtype="bfloat16"), trained=True))
    whole = learner(base)
    stats = [one.step(items, ADVANTAGES, 0) for one in (ours, whole)]
    assert stats[0].gradient_norm == pytest.approx(stats[1].gradient_norm, rel=0.05)
    assert distance(weights(ours), weights(whole)) < 0.6 * distance(start, weights(whole))


def test_learning_uses_no_global_random_state(base: LanguageModel, items: list[ScoreItem]) -> None:
    before = torch.get_rng_state()
    ours = learner(base, beta=0.1)
    ours.score(items, keep=True)
    ours.step(items, ADVANTAGES, 0)
    assert torch.equal(torch.get_rng_state(), before)
