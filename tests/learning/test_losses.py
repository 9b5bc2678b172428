"""The loss: the paper's formula, PPO's clipping, and agreement with TRL's trainer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from dgrpo.learning.advantages import Scaling, group_advantages
from dgrpo.learning.losses import Normalisation, policy_loss
from dgrpo.policy.model import load_model
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.scoring import ScoreItem, forward_pass
from dgrpo.policy.settings import ModelSettings, Sampling

NORMALISATIONS: tuple[Normalisation, ...] = ("grpo", "dr_grpo", "dapo")
MASK = torch.tensor(
    [[True, True, True, True], [True, True, False, False], [True, False, False, False]]
)
LOGPROBS = torch.tensor([[-0.5, -1.0, -2.0, -0.1], [-0.3, -3.0, 0.0, 0.0], [-1.2, 0.0, 0.0, 0.0]])
ADVANTAGES = torch.tensor([1.0, -0.5, 2.0])
LIMIT = 8


def loss(logprobs: torch.Tensor, **settings: Any) -> torch.Tensor:
    return policy_loss(
        logprobs, MASK, ADVANTAGES.to(logprobs), completions=3, max_tokens=LIMIT, **settings
    )


# --- the formula


@pytest.mark.parametrize(
    ("normalisation", "value"),
    [
        # −1/3 (1·1 − 0.5·1 + 2·1): every completion counts once, whatever its length
        ("grpo", -2.5 / 3),
        # −(4·1 − 2·0.5 + 1·2) / (3·8)
        ("dr_grpo", -5 / 24),
        # −(4·1 − 2·0.5 + 1·2) / 7 tokens
        ("dapo", -5 / 7),
    ],
)
def test_loss_has_the_value_of_the_formula(normalisation: Normalisation, value: float) -> None:
    assert float(loss(LOGPROBS, normalisation=normalisation)) == pytest.approx(value)


def test_gradient_is_the_papers_policy_gradient() -> None:
    # ∂/∂ log π of −1/G Σ_i 1/|a_i| Σ_t ratio·Â, at ratio 1
    logprobs = LOGPROBS.clone().requires_grad_()
    loss(logprobs).backward()  # type: ignore[no-untyped-call]
    wanted = -(ADVANTAGES[:, None] / MASK.sum(1, keepdim=True) / 3) * MASK
    torch.testing.assert_close(logprobs.grad, wanted)


@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_gradient_equals_finite_differences(normalisation: Normalisation, beta: float) -> None:
    old = (LOGPROBS - 0.1 * torch.arange(4)).double()
    reference = (LOGPROBS + 0.2 * torch.arange(4)).double()

    def value(logprobs: torch.Tensor) -> torch.Tensor:
        return loss(
            logprobs,
            normalisation=normalisation,
            old_logprobs=old,
            clip_low=0.25,
            clip_high=0.15,
            reference_logprobs=reference,
            beta=beta,
        )

    assert torch.autograd.gradcheck(value, LOGPROBS.double().requires_grad_())


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_losses_of_parts_add_up_to_the_loss_of_the_whole(normalisation: Normalisation) -> None:
    def part(rows: slice) -> float:
        value = policy_loss(
            LOGPROBS[rows],
            MASK[rows],
            ADVANTAGES[rows],
            completions=3,
            max_tokens=LIMIT,
            normalisation=normalisation,
            tokens_in_batch=int(MASK.sum()),
        )
        return float(value)

    whole = float(loss(LOGPROBS, normalisation=normalisation))
    assert part(slice(0, 1)) + part(slice(1, 3)) == pytest.approx(whole)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_padding_carries_no_gradient(normalisation: Normalisation) -> None:
    logprobs = LOGPROBS.clone().requires_grad_()
    loss(
        logprobs, normalisation=normalisation, reference_logprobs=LOGPROBS + 1, beta=0.5
    ).backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None
    assert not logprobs.grad[~MASK].any()
    assert logprobs.grad[MASK].all()


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_a_masked_completion_cannot_make_the_loss_infinite(normalisation: Normalisation) -> None:
    """What a defense left out may be next to impossible under the current weights."""
    logprobs = LOGPROBS.clone()
    logprobs[1] = -200.0
    logprobs.requires_grad_()
    mask = MASK.clone()
    mask[1] = False
    value = policy_loss(
        logprobs,
        mask,
        torch.tensor([1.0, 0.0, 2.0]),
        completions=3,
        max_tokens=LIMIT,
        normalisation=normalisation,
        old_logprobs=LOGPROBS - 400.0 * ~mask,
        reference_logprobs=LOGPROBS,
        beta=0.1,
    )
    value.backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None
    assert torch.isfinite(value)
    assert torch.isfinite(logprobs.grad).all()
    assert (logprobs.grad[1] == 0).all()


def test_clipping_stops_the_gradient_only_where_the_ratio_left_its_bounds_for_gain() -> None:
    # ratios 1.5 and 0.5 under advantages + and −: PPO's pessimistic bound stops two of the four
    ratio = torch.tensor([[1.5, 0.5], [1.5, 0.5]])
    logprobs = ratio.log().requires_grad_()
    value = policy_loss(
        logprobs,
        torch.ones(2, 2, dtype=torch.bool),
        torch.tensor([1.0, -1.0]),
        completions=2,
        max_tokens=2,
        old_logprobs=torch.zeros(2, 2),
        clip_low=0.2,
        clip_high=0.3,
    )
    # −1/4 (min(1.5, 1.3) + min(0.5, 0.8) − max(1.5, 1.3) − max(0.5, 0.8))
    assert float(value.detach()) == pytest.approx(-(1.3 + 0.5 - 1.5 - 0.8) / 4)
    value.backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None
    assert (logprobs.grad != 0).tolist() == [[False, True], [True, False]]


def test_each_clipping_bound_can_stand_alone() -> None:
    ratio = torch.tensor([[1.5, 0.5, 0.5]])
    for bounds, wanted in (
        ({"clip_high": 0.3}, 1.3 + 0.5 + 0.5),
        ({"clip_low": 0.3}, 1.5 + 0.5 + 0.5),
    ):
        value = policy_loss(
            ratio.log(),
            torch.ones(1, 3, dtype=torch.bool),
            torch.tensor([1.0]),
            completions=1,
            max_tokens=3,
            old_logprobs=torch.zeros(1, 3),
            **bounds,
        )
        assert float(value) == pytest.approx(-wanted / 3)


def test_kl_is_zero_at_the_reference_and_positive_elsewhere() -> None:
    base = float(loss(LOGPROBS))
    assert float(loss(LOGPROBS, reference_logprobs=LOGPROBS, beta=1.0)) == pytest.approx(base)
    for shift in (-0.5, 0.5):
        assert float(loss(LOGPROBS, reference_logprobs=LOGPROBS + shift, beta=1.0)) > base + 0.05


# --- TRL's GRPOTrainer on the same model, completions and rewards

PROMPTS = (
    "Question: There are 34 girls in the yard. How many kids are in the yard?\nAnswer:\n",
    "Question: Tom has 3 cows.\nAnswer:\n",
    "Question: A box of 12 pens costs 4 dollars. How much do 36 pens cost in all?\nAnswer:\n",
)
GROUP = 4
REWARDS = ((1.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0), (0.25, 1.0, 0.0, 0.5))
MAX_TOKENS = 24


@pytest.fixture(scope="module")
def items() -> list[ScoreItem]:
    model = load_model(ModelSettings())
    asked = [
        SampleRequest(prompt, sampling_key("trl", i)) for prompt in PROMPTS for i in range(GROUP)
    ]
    drawn = sample(model, asked, Sampling(max_tokens=MAX_TOKENS))
    # lengths differ, one completion is a single token
    cut = [ids[: 24 - 3 * (i % 4)] for i, ids in enumerate(drawn)]
    cut[5] = (model.end_id,)
    return [ScoreItem(r.prompt_text, ids) for r, ids in zip(asked, cut, strict=True)]


def trl_trainer(folder: Path, items: list[ScoreItem], **settings: Any) -> Any:
    """TRL's trainer on a fresh model; its rollout hook hands out `items`, its reward REWARDS."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    trl = pytest.importorskip("trl", reason="TRL is what this test compares with")
    datasets = pytest.importorskip("datasets", reason="TRL's trainer wants a datasets.Dataset")
    model = load_model(ModelSettings())

    def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
        assert prompts == [item.prompt_text for item in items]
        return {
            "prompt_ids": [model.encode(item.prompt_text) for item in items],
            "completion_ids": [list(item.token_ids) for item in items],
            "logprobs": None,
        }

    def reward(prompts: list[str], **_: Any) -> list[float]:
        assert len(prompts) == len(items)
        return [r for group in REWARDS for r in group]

    arguments = trl.GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        per_device_train_batch_size=len(items),
        num_generations=GROUP,
        max_completion_length=MAX_TOKENS,
        num_iterations=2,  # so that the log-probabilities at generation are kept
        use_bias_correction_kl=False,  # plain k3, as in GRPO's paper; TRL's default weighs it
        **settings,
    )
    trainer = trl.GRPOTrainer(
        model.network,
        reward,
        arguments,
        train_dataset=datasets.Dataset.from_list([{"prompt": p} for p in PROMPTS]),
        processing_class=model.tokenizer,
        rollout_func=rollout,
    )
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1  # what its training loop sets
    return trainer


def nudge(network: torch.nn.Module) -> None:
    """The same small step for any copy of the model, so that ratios leave 1."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(
                0.05 * parameter.std() * torch.randn(parameter.shape, generator=generator)
            )


def gradient(network: torch.nn.Module, value: torch.Tensor) -> dict[str, torch.Tensor]:
    network.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("scaling", ["group", "batch", "none"])
def test_advantages_are_trls(tmp_path: Path, items: list[ScoreItem], scaling: Scaling) -> None:
    trainer = trl_trainer(tmp_path, items, scale_rewards=scaling)
    inputs = trainer._generate_and_score_completions(
        [{"prompt": item.prompt_text} for item in items]
    )
    ours = [a for group in group_advantages(REWARDS, scaling) for a in group]
    assert ours == pytest.approx(inputs["advantages"].tolist(), rel=1e-5, abs=1e-6)
    assert max(map(abs, ours)) > 0.5


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("clip", [None, (0.02, 0.03)])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_loss_and_gradient_are_trls(
    tmp_path: Path,
    items: list[ScoreItem],
    normalisation: Normalisation,
    clip: tuple[float, float] | None,
    beta: float,
) -> None:
    low, high = clip or (1e6, 1e6)  # bounds that never bind
    trainer = trl_trainer(
        tmp_path, items, loss_type=normalisation, beta=beta, epsilon=low, epsilon_high=high
    )
    inputs = trainer._generate_and_score_completions(
        [{"prompt": item.prompt_text} for item in items]
    )
    model = load_model(ModelSettings())
    with torch.no_grad():
        old = forward_pass(model, items).logprobs
    mask = inputs["completion_mask"].bool()
    torch.testing.assert_close(old[mask], inputs["old_per_token_logps"][mask], atol=1e-4, rtol=1e-4)

    nudge(trainer.model)
    theirs = trainer._compute_loss(trainer.model, inputs)
    their_gradient = gradient(trainer.model, theirs)

    nudge(model.network)
    result = forward_pass(model, items)
    ratio = (result.logprobs.detach() - old).exp()[mask]
    assert float((ratio - 1).abs().max()) > 0.05  # beyond the clipping bounds
    ours = policy_loss(
        result.logprobs,
        result.mask,
        torch.tensor([a for group in group_advantages(REWARDS) for a in group]),
        completions=len(items),
        max_tokens=MAX_TOKENS,
        normalisation=normalisation,
        old_logprobs=old,
        clip_low=clip[0] if clip else None,
        clip_high=clip[1] if clip else None,
        reference_logprobs=old if beta else None,
        beta=beta,
    )
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-4, abs=1e-6)
    our_gradient = gradient(model.network, ours)
    largest = max(float(g.abs().max()) for g in their_gradient.values())
    assert our_gradient.keys() == their_gradient.keys()
    for name, wanted in their_gradient.items():
        torch.testing.assert_close(
            our_gradient[name],
            wanted,
            rtol=1e-3,
            atol=1e-4 * largest,
            msg=lambda text, name=name: f"{name}: {text}",
        )
