"""Keyed noise: the same bits for the same name, unrelated ones otherwise, Gumbel all the same."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy
import pytest
import torch

from dgrpo.policy.noise import STEPS, gumbel, key_tensor, noise_of, sampling_key

CPU = torch.device("cpu")
EULER = 0.5772156649


def draws(rows: int = 400, candidates: int = 400, position: int = 0) -> torch.Tensor:
    keys = key_tensor([sampling_key("moments", row) for row in range(rows)], CPU)
    return gumbel(keys, position, torch.arange(candidates).expand(rows, -1))


def test_bits_are_those_of_the_published_format() -> None:
    # another hash would make every recorded run and every peer's seeded check disagree
    assert sampling_key("beacon", 3, "node-1", "f00d", 7) == (1192219747, 1118425802)
    keys = key_tensor([(0, 0), (1, -2), (-(2**31), 2**31 - 1)], CPU)
    tokens = torch.tensor([[0, 767], [0, 767], [151_935, 1]])
    pinned = [[4.944970, 1.796922], [1.240942, 1.293576], [-0.009240, 0.176242]]
    assert gumbel(keys, 5, tokens).tolist() == [pytest.approx(row, abs=2e-6) for row in pinned]


def test_no_rounding_depends_on_the_device() -> None:
    # float64 logarithms are right to a unit or two in the last place, whoever computes them. None
    # of the numbers that noise is made of comes within 16 units of where float32 rounds otherwise.
    steps = torch.arange(STEPS, dtype=torch.int32)
    surprise = -torch.log((steps.double() + 0.5) / STEPS)
    assert _nearest_boundary(surprise.numpy()) > 16
    noise = -torch.log(surprise.float().double())
    assert _nearest_boundary(noise.numpy()) > 16
    assert torch.equal(noise_of(steps), noise.float())
    digest = hashlib.sha256(noise_of(steps).numpy().astype("<f4").tobytes()).hexdigest()
    assert digest[:16] == "2c11614f7c3c860d"


def _nearest_boundary(exact: Any) -> float:
    """Units in the last place to where float32 would round otherwise, at its smallest."""
    rounded = exact.astype(numpy.float32)
    distances = []
    for beyond in (numpy.inf, -numpy.inf):
        neighbour = numpy.nextafter(rounded, numpy.float32(beyond)).astype(numpy.float64)
        boundary = (rounded.astype(numpy.float64) + neighbour) / 2
        distances.append((abs(exact - boundary) / numpy.spacing(abs(exact))).min())
    return float(min(distances))


def test_same_name_gives_the_same_bits_in_any_batch() -> None:
    keys = key_tensor([sampling_key("run", row) for row in range(7)], CPU)
    tokens = torch.stack([torch.randperm(1024, generator=_seeded(row))[:50] for row in range(7)])
    whole = gumbel(keys, 11, tokens)
    assert torch.equal(whole, gumbel(keys, 11, tokens))
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    assert torch.equal(gumbel(keys[order], 11, tokens[order]), whole[order])
    assert torch.equal(gumbel(keys[2:3], 11, tokens[2:3, 9:10]), whole[2:3, 9:10])
    positions = torch.full((7,), 11, dtype=torch.int32)
    assert torch.equal(gumbel(keys, positions, tokens), whole)


@pytest.mark.parametrize("part", range(5))
def test_every_part_of_a_name_changes_the_key(part: int) -> None:
    name: list[str | int] = ["beacon", 3, "node-1", "f00d", 7]
    other = list(name)
    other[part] = "another"
    ours, theirs = sampling_key(*name), sampling_key(*other)
    assert ours[0] != theirs[0]
    assert ours[1] != theirs[1]


def test_parts_of_a_name_do_not_run_together() -> None:
    assert sampling_key("1", "23") != sampling_key("12", "3")


@pytest.mark.parametrize("axis", ["key", "position", "token"])
def test_neighbouring_names_give_unrelated_noise(axis: str) -> None:
    here = draws()
    if axis == "key":
        there = here.roll(1, dims=0)
    elif axis == "position":
        there = draws(position=1)
    else:
        there = here.roll(1, dims=1)
    assert (here == there).float().mean() < 1e-4
    correlation = torch.corrcoef(torch.stack([here.flatten(), there.flatten()]))[0, 1]
    assert abs(float(correlation)) < 6 / math.sqrt(here.numel())


def test_words_of_a_key_both_count() -> None:
    tokens = torch.arange(100)[None]
    ours = gumbel(key_tensor([(5, 9)], CPU), 0, tokens)
    for other in ((5, 10), (6, 9), (9, 5)):
        assert (ours == gumbel(key_tensor([other], CPU), 0, tokens)).sum() <= 1


def test_noise_is_standard_gumbel() -> None:
    noise = draws().double()
    assert noise.isfinite().all()
    assert float(noise.mean()) == pytest.approx(EULER, abs=0.02)
    assert float(noise.var()) == pytest.approx(math.pi**2 / 6, abs=0.06)
    # the whole distribution: largest gap between its empirical and its true cumulative function
    ordered = noise.flatten().sort().values
    true = torch.exp(-torch.exp(-ordered))
    empirical = (torch.arange(len(ordered)) + 0.5) / len(ordered)
    assert float((true - empirical).abs().max()) < 1.95 / math.sqrt(len(ordered))  # p = 0.001


def test_each_row_and_each_token_is_gumbel_on_its_own() -> None:
    noise = draws(rows=1000, candidates=1000).double()
    deviation = math.sqrt(math.pi**2 / 6 / 1000)
    for dim in (0, 1):
        assert float((noise.mean(dim=dim) - EULER).abs().max()) < 5 * deviation


def test_noise_uses_no_global_random_state() -> None:
    before = torch.get_rng_state()
    draws(rows=4, candidates=4)
    assert torch.equal(torch.get_rng_state(), before)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
