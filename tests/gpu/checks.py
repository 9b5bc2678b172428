"""What must hold on every device, as functions of a device: pytest calls them, or this file alone.

`python tests/gpu/checks.py DEVICE` needs no pytest. It prints a line per check and ends with 1 if
one failed. A check that needs a package that is not there is left out, and the line says so.

The models are small; where a device computes otherwise than the CPU, both are compared.
"""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if __name__ == "__main__":  # as a script: the tests' helpers are beside it
    sys.path.insert(0, str(Path(__file__).parents[2]))

from dgrpo.policy.noise import STEPS, gumbel, key_tensor, noise_of, sampling_key

if TYPE_CHECKING:
    from dgrpo.learning.learner import Learner
    from dgrpo.policy.model import LanguageModel
    from dgrpo.policy.scoring import ScoreItem

CPU = torch.device("cpu")
QUESTIONS = tuple(
    f"Question: Tom has {start} apples and buys {more} more.{extra} How many has he?\nAnswer:\n"
    for start, more, extra in (
        (3, 4, ""),
        (30, 411, " Ann has 7 pears, and gives 2 of them to Tom."),
        (8, 15, " He eats 2."),
    )
)
"""Of different lengths: a batch of them has padding."""


def noise_has_the_same_bits(device: torch.device) -> None:
    """All 2²³ numbers that noise is made of, and hashes of extreme keys, positions and ids."""
    steps = torch.arange(STEPS, dtype=torch.int32)
    assert torch.equal(noise_of(steps), noise_of(steps.to(device)).cpu())
    keys = [sampling_key("bits", row) for row in range(61)] + [
        (0, 0),
        (-(2**31), 2**31 - 1),
        (2**31 - 1, -(2**31)),
    ]
    tokens = torch.cat([torch.arange(1000), torch.arange(151_000, 152_000)]).expand(64, -1)
    for position in (0, 1, 2**20, 2**31 - 1):
        here = gumbel(key_tensor(keys, CPU), position, tokens)
        there = gumbel(key_tensor(keys, device), position, tokens.to(device))
        assert torch.equal(here, there.cpu())


def draws_from_equal_logits_are_equal(device: torch.device) -> None:
    """Whatever the candidates: the k likeliest, the likeliest by mass, all, one."""
    from dgrpo.policy.sampling import choose
    from dgrpo.policy.settings import Sampling

    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2000, 1024, generator=generator)
    keys = [sampling_key("draws", row) for row in range(len(logits))]
    for sampling in (
        Sampling(top_k=20),
        Sampling(top_k=50, temperature=0.7),
        Sampling(top_k=0),
        Sampling(top_k=0, top_p=0.95),
        Sampling(top_k=50, top_p=0.9, temperature=1.3),
        Sampling(temperature=0),
    ):
        for position in (0, 7):
            here = choose(logits, key_tensor(keys, CPU), position, sampling)
            there = choose(logits.to(device), key_tensor(keys, device), position, sampling)
            assert torch.equal(here, there.cpu()), sampling


def samples_repeat_and_end(device: torch.device) -> None:
    """The same requests give the same completions, which begin as those of the CPU do."""
    from dgrpo.policy.sampling import sample
    from dgrpo.policy.settings import Sampling

    ours, theirs = loaded(device), loaded(CPU)
    requests = asked()
    for sampling in (Sampling(max_tokens=24), Sampling(max_tokens=24, top_k=0, top_p=0.9)):
        drawn = sample(ours, requests, sampling, finite=True)
        assert drawn == sample(ours, requests, sampling, finite=True)
        assert all(len(ids) == 24 or ids[-1] == ours.end_id for ids in drawn)
        same = sum(a == b for a, b in zip(drawn, sample(theirs, requests, sampling), strict=True))
        assert same >= len(requests) - 2  # rounding may turn a draw now and then


def scores_are_those_of_the_cpu(device: torch.device) -> None:
    """Log-probabilities but for rounding, ranks but for near ties; in one bucket or in several."""
    from dgrpo.policy.scoring import forward_pass

    ours, theirs = loaded(device), loaded(CPU)
    items = drawn_items(theirs)
    for options in ({}, {"temperature": 0.7}, {"bucket_tokens": 40}):
        with torch.no_grad():
            there, here = (
                forward_pass(which, items, statistics=("rank",), **options).statistics()  # type: ignore[arg-type]
                for which in (ours, theirs)
            )
        close(
            [p for one in there for p in one["logprob"]],
            [p for one in here for p in one["logprob"]],
            2e-3,
        )
        ranks = [(a, b) for x, y in zip(there, here, strict=True) for a, b in pairs(x, y)]
        assert sum(a != b for a, b in ranks) <= len(ranks) // 50


def windowed_models_work(device: torch.device) -> None:
    """Of layers that keep a window only, neither prompts nor a cache of our own are shared."""
    from tests.policy.tiny_models import of_family

    from dgrpo.policy.sampling import sample
    from dgrpo.policy.scoring import forward_pass
    from dgrpo.policy.settings import Sampling

    theirs = of_family(loaded(CPU), "mistral", sliding_window=8)
    ours = moved(theirs, device)
    requests = asked()
    drawn = sample(ours, requests, Sampling(max_tokens=12))
    same = zip(drawn, sample(theirs, requests, Sampling(max_tokens=12)), strict=True)
    assert sum(a == b for a, b in same) >= len(requests) - 2
    items = drawn_items(theirs)
    with torch.no_grad():
        there, here = (
            forward_pass(ours, items).statistics(),
            forward_pass(theirs, items).statistics(),
        )
    # the model is random and sharp: it magnifies rounding
    ours, theirs = ([p for one in scores for p in one["logprob"]] for scores in (there, here))
    close(ours, theirs, 2e-2)


def steps_are_those_of_the_cpu(device: torch.device) -> None:
    """Loss and gradient of one step, under every way to take it."""
    from dgrpo.learning.settings import LearnerSettings

    base = loaded(CPU)
    items, advantages = lesson(base)
    for settings in (
        LearnerSettings(),
        LearnerSettings(keep_forward=False),
        LearnerSettings(groups_per_pass=1, normalisation="dr_grpo"),
        LearnerSettings(beta=0.1, max_gradient_norm=float("inf")),
        LearnerSettings(updates_per_round=2, clip_low=0.2, clip_high=0.2, normalisation="dapo"),
    ):
        done = []
        for model in (moved(base, device), moved(base, CPU)):
            pupil = learner(model, settings)
            pupil.score(items, keep=True)
            done.append(pupil.step(items, advantages, 0))
        assert done[0].tokens == done[1].tokens > 0
        close([done[0].gradient_norm], [done[1].gradient_norm], 2e-3 * done[1].gradient_norm)
        close([done[0].loss], [done[1].loss], 1e-3)


def steps_teach(device: torch.device) -> None:
    """What has a positive advantage becomes likelier, what has a negative one less likely."""
    assert_learns(loaded(device))


def bfloat16_steps_teach(device: torch.device) -> None:
    """Autocast: passes are computed in bfloat16, weights are kept and stepped in float32."""
    from dgrpo.policy.sampling import sample
    from dgrpo.policy.scoring import forward_pass
    from dgrpo.policy.settings import Sampling

    model = replace(loaded(device), autocast=True)
    drawn = sample(model, asked(), Sampling(max_tokens=12), finite=True)
    assert drawn == sample(model, asked(), Sampling(max_tokens=12), finite=True)
    items = drawn_items(loaded(CPU))
    with torch.no_grad():
        rough, exact = (
            [p for one in forward_pass(which, items).statistics() for p in one["logprob"]]
            for which in (model, replace(model, autocast=False))
        )
    assert rough != exact, "nothing was computed in bfloat16"
    close(rough, exact, 0.5)
    assert_learns(model)
    assert all(p.dtype == torch.float32 for p in model.network.parameters())


def checkpoints_go_on(device: torch.device) -> None:
    """A saved learner goes on as the one that was saved does, on this device and on the CPU."""
    from dgrpo.learning.settings import LearnerSettings

    base = loaded(CPU)
    items, advantages = lesson(base)
    first = learner(moved(base, device), LearnerSettings())
    for round_index in range(2):
        first.step(items, advantages, round_index)
    packed = io.BytesIO()
    torch.save(first.state_dict(), packed)
    state = torch.load(io.BytesIO(packed.getvalue()), weights_only=True, map_location="cpu")
    resumed = learner(moved(base, device), LearnerSettings())
    resumed.load_state_dict(state)
    elsewhere = learner(moved(base, CPU), LearnerSettings())
    elsewhere.load_state_dict(state)
    twin = first.clone()
    want = first.step(items, advantages, 2)
    for other in (resumed, twin, elsewhere):
        got = other.step(items, advantages, 2)
        close([got.gradient_norm], [want.gradient_norm], 2e-3 * want.gradient_norm)
        for a, b in zip(other.parameters, first.parameters, strict=True):
            assert torch.allclose(a.detach().cpu(), b.detach().cpu(), atol=1e-4)
    assert all(p.device.type == device.type for p in resumed.parameters)


def rounds_are_played(device: torch.device) -> None:
    """Two nodes that screen each other, on models that they load onto the device."""
    from dgrpo.experiment import experiment_from
    from dgrpo.swarm import Swarm
    from dgrpo.tasks.base import LoadedTask, make_prompt

    class Apples(LoadedTask):
        """Rewards an even number of words, so that most groups teach something."""

        def reward(self, prompt: Any, text: str) -> float:
            return float(len(text.split()) % 2)

        def answer_anywhere(self, prompt: Any, text: str) -> bool:
            return False

    pool = tuple(
        make_prompt("apples", f"Tom has {n} apples and buys {n + 3} more. How many?", str(n), "x")
        for n in range(12)
    )
    experiment = experiment_from(
        {
            "name": "device",
            "rounds": 3,
            "nodes": 2,
            "prompts_per_round": 4,
            "group_size": 4,
            "model": {"name": "gsm-nano", "device": str(device)},
            "sampling": {"max_tokens": 12, "top_k": 20},
            "evaluation": {"samples": 4, "final_samples": 4},
            "defense": [{"name": "top-k", "k": 40}],
        }
    )
    swarm = Swarm(experiment, 0, task=Apples("apples", pool[:8], pool[8:]), share_replicas=False)
    assert all(one.model.device.type == device.type for one in swarm.replicas.models)
    for round_index in range(2):
        for record in swarm.play(round_index):
            assert len(record.judged) == 16
            assert all(one.accepted for one in record.judged)
            assert record.update.gradient_norm > 0


def judges_decide(device: torch.device) -> None:
    """A judge on the device: a generated decision, and log-odds."""
    import asyncio

    from dgrpo.judging.bench import Question
    from dgrpo.judging.local import LocalJudge
    from dgrpo.policy.model import load_model
    from dgrpo.policy.settings import ModelSettings, Sampling
    from dgrpo.tasks.base import make_prompt

    prompt = make_prompt("apples", "Tom has 3 apples and buys 4 more. How many?", "7", "3 + 4 = 7")
    text = "<think> 3 + 4 = 7 </think> <answer> 7 </answer>"
    questions = [Question(prompt.key, prompt.text, one) for one in (text, text.replace("7", "9"))]
    on_cpu = load_model(ModelSettings(name="judge-nano"))
    for sampling in (Sampling(max_tokens=96, temperature=0), None):
        there, here = (
            asyncio.run(LocalJudge(model, "brief", sampling is not None, sampling).ask(questions))
            for model in (moved(on_cpu, device), on_cpu)
        )
        assert [one.accept for one in there] == [one.accept for one in here]
        assert not any(one.undecided for one in here)
        close([one.score for one in there], [one.score for one in here], 1e-2)


CHECKS: tuple[Callable[[torch.device], None], ...] = (
    noise_has_the_same_bits,
    draws_from_equal_logits_are_equal,
    samples_repeat_and_end,
    scores_are_those_of_the_cpu,
    windowed_models_work,
    steps_are_those_of_the_cpu,
    steps_teach,
    bfloat16_steps_teach,
    checkpoints_go_on,
    rounds_are_played,
    judges_decide,
)


BEYOND_PRETENDING = (bfloat16_steps_teach,)
"""Checks that a device which only pretends cannot make: it has no autocast."""


def loaded(device: torch.device) -> LanguageModel:
    """The shipped model on `device`, with weights of its own."""
    from dgrpo.policy.model import load_model
    from dgrpo.policy.settings import ModelSettings

    return moved(load_model(ModelSettings(), trained=True), device)


def moved(model: LanguageModel, device: torch.device) -> LanguageModel:
    """A copy on `device`."""
    copy = model.clone()
    copy.network.to(device)  # type: ignore[arg-type]
    copy.network.tie_weights()  # a device that pretends gives each module parameters of its own
    return replace(copy)


def asked() -> list[Any]:
    """Four samples of each question, with their keys."""
    from dgrpo.policy.sampling import SampleRequest

    return [SampleRequest(q, sampling_key("checks", q, n)) for q in QUESTIONS for n in range(4)]


def drawn_items(model: LanguageModel) -> list[ScoreItem]:
    """The model's own samples, of several lengths."""
    from dgrpo.policy.sampling import sample
    from dgrpo.policy.scoring import ScoreItem
    from dgrpo.policy.settings import Sampling

    drawn = sample(model, asked(), Sampling(max_tokens=16))
    cut = [ids[: 5 + place % 12] for place, ids in enumerate(drawn)]
    return [ScoreItem(one.prompt_text, ids) for one, ids in zip(asked(), cut, strict=True)]


def lesson(model: LanguageModel) -> tuple[list[ScoreItem], list[float | None]]:
    """Items and their advantages: likelier, less likely, neither, left out."""
    items = drawn_items(model)
    return items, [(1.0, -1.0, 0.0, None)[place % 4] for place in range(len(items))]


def learner(model: LanguageModel, settings: Any) -> Learner:
    """A learner of the lesson's size."""
    from dgrpo.learning.learner import Learner
    from dgrpo.policy.settings import Sampling

    return Learner(model, settings, Sampling(max_tokens=16), completions=12)


def assert_learns(model: LanguageModel) -> None:
    """The advantages' signs show in the log-probabilities after a few steps."""
    from dgrpo.learning.settings import LearnerSettings

    items, advantages = lesson(loaded(CPU))
    pupil = learner(model, LearnerSettings(warmup_rounds=0))
    before = pupil.score(items)
    for round_index in range(4):
        pupil.step(items, advantages, round_index)
    for x, y, advantage in zip(before, pupil.score(items), advantages, strict=True):
        if advantage:
            assert (sum(y["logprob"]) - sum(x["logprob"])) * advantage > 0


def pairs(one: Any, other: Any) -> Iterator[tuple[int, int]]:
    """Ranks of the same tokens."""
    return zip(one["rank"], other["rank"], strict=True)


def close(ours: list[float], theirs: list[float], tolerance: float = 2e-3) -> None:
    """Assert that no pair is further apart."""
    assert len(ours) == len(theirs) > 0
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) <= tolerance


@contextmanager
def device_named(name: str) -> Iterator[torch.device]:
    """The device; `pretend` exists inside only (pretend.py)."""
    if name == "pretend":
        from tests.gpu.pretend import pretended

        with pretended():
            yield torch.device(name, 0)
        return
    with nullcontext():
        yield torch.device(name)


def main(name: str) -> int:
    """Run every check; the number of failed ones."""
    failed = 0
    with device_named(name) as device:
        for check in CHECKS:
            if name == "pretend" and check in BEYOND_PRETENDING:
                continue
            try:
                check(device)
            except ModuleNotFoundError as error:
                print(f"skipped {check.__name__}: needs {error.name}", flush=True)
            except Exception:
                failed += 1
                print(f"FAILED {check.__name__}\n{traceback.format_exc()}", flush=True)
            else:
                print(f"passed {check.__name__}", flush=True)
    return failed


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(min(main(sys.argv[1]), 1))
