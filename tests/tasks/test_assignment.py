"""Who owes what: every sample once, no prompt twice, the same for everyone who computes it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgrpo.errors import DgrpoError
from dgrpo.records import Prompt
from dgrpo.tasks.assignment import Assignment, Topology, check_divides

POOL = tuple(Prompt(f"key-{i}", f"question {i}", str(i), "") for i in range(64))


@given(
    nodes=st.integers(1, 6),
    share=st.integers(1, 5),
    prompts=st.integers(1, 30),
    round_index=st.integers(0, 100),
)
def test_horizontally_every_sample_of_every_prompt_is_owed_by_one_node(
    nodes: int, share: int, prompts: int, round_index: int
) -> None:
    group = max(2, nodes * share)
    group += -group % nodes
    assignment = Assignment("horizontal", nodes, prompts, group, seed=0)
    common = assignment.common_prompts(POOL, round_index)
    owed = Counter((p.key, s) for n in range(nodes) for p in common for s in assignment.samples(n))
    assert len(common) == assignment.prompts_per_node == prompts
    assert len(owed) == prompts * group
    assert set(owed.values()) == {1}
    assert {sample for _, sample in owed} == set(range(group))


@given(
    nodes=st.integers(1, 6),
    each=st.integers(1, 8),
    group=st.integers(2, 12),
    round_index=st.integers(0, 100),
)
def test_vertically_a_node_owes_whole_groups_of_different_prompts(
    nodes: int, each: int, group: int, round_index: int
) -> None:
    assignment = Assignment("vertical", nodes, nodes * each, group, seed=0)
    for node in range(nodes):
        own = assignment.own_prompts(POOL, round_index, node)
        assert assignment.samples(node) == range(group)
        assert len({p.key for p in own}) == len(own) == assignment.prompts_per_node == each
        assert set(own) <= set(POOL)


@pytest.mark.parametrize("prompts", [1, 4, 16, 64])
def test_an_epoch_covers_the_pool_once(prompts: int) -> None:
    assignment = Assignment("horizontal", 4, prompts, 4, seed=3)
    rounds = len(POOL) // prompts
    for epoch in range(3):
        seen = [
            p.key
            for r in range(epoch * rounds, (epoch + 1) * rounds)
            for p in assignment.common_prompts(POOL, r)
        ]
        assert sorted(seen) == sorted(p.key for p in POOL)


@pytest.mark.parametrize("prompts", [7, 10, 33, 48])
def test_no_round_asks_a_prompt_twice_and_the_rest_of_an_epoch_comes_later(prompts: int) -> None:
    """A prompt asked twice in a round would make honest samples look like duplicates."""
    assignment = Assignment("horizontal", 4, prompts, 4, seed=3)
    seen = set()
    for round_index in range(60):
        keys = [p.key for p in assignment.common_prompts(POOL, round_index)]
        assert len(set(keys)) == prompts
        seen |= set(keys)
    assert seen == {p.key for p in POOL}


def test_epochs_differ_in_their_order() -> None:
    assignment = Assignment("horizontal", 4, 64, 4, seed=0)
    orders = {tuple(p.key for p in assignment.common_prompts(POOL, epoch)) for epoch in range(4)}
    assert len(orders) == 4


def test_a_round_can_be_computed_again_without_the_rounds_before_it() -> None:
    one, other = (Assignment("horizontal", 2, 8, 4, seed=5) for _ in range(2))
    for round_index in range(20):
        one.common_prompts(POOL, round_index)
    assert one.common_prompts(POOL, 19) == other.common_prompts(POOL, 19)
    vertical = Assignment("vertical", 2, 8, 4, seed=5)
    assert vertical.own_prompts(POOL, 19, 1) == vertical.own_prompts(POOL, 19, 1)


def test_seed_round_and_node_each_change_what_is_picked() -> None:
    assignment, reseeded = (Assignment("vertical", 2, 16, 4, seed=seed) for seed in (0, 1))
    usual = assignment.own_prompts(POOL, 0, 0)
    assert usual != assignment.own_prompts(POOL, 1, 0)
    assert usual != assignment.own_prompts(POOL, 0, 1)
    assert usual != reseeded.own_prompts(POOL, 0, 0)
    assert assignment.common_prompts(POOL, 0) != reseeded.common_prompts(POOL, 0)


@pytest.mark.parametrize(
    ("topology", "nodes", "prompts", "group", "problem", "remedy"),
    [
        ("horizontal", 5, 16, 12, "group_size = 12", "use group_size = 10 or 15"),
        ("horizontal", 4, 16, 3, "group_size = 3", "use group_size = 4,"),
        ("vertical", 3, 16, 12, "prompts_per_round = 16", "use prompts_per_round = 15 or 18"),
        ("vertical", 4, 2, 12, "prompts_per_round = 2", "use prompts_per_round = 4,"),
        ("horizontal", 1, 16, 1, "group_size = 1", "use at least 2"),
        ("vertical", 1, 16, 1, "group_size = 1", "use at least 2"),
    ],
)
def test_what_cannot_be_dealt_evenly_is_refused_with_numbers_that_can(
    topology: Topology, nodes: int, prompts: int, group: int, problem: str, remedy: str
) -> None:
    with pytest.raises(DgrpoError) as caught:
        Assignment(topology, nodes, prompts, group, seed=0)
    assert caught.value.problem.startswith(problem)
    assert caught.value.remedy.startswith(remedy)


@given(
    topology=st.sampled_from(["horizontal", "vertical"]),
    nodes=st.integers(1, 8),
    prompts=st.integers(1, 40),
    group=st.integers(1, 40),
)
def test_an_assignment_is_accepted_exactly_when_it_deals_evenly(
    topology: Topology, nodes: int, prompts: int, group: int
) -> None:
    dealt = prompts if topology == "vertical" else group
    if dealt % nodes == 0 and group >= 2:
        check_divides(topology, nodes, prompts, group)
        return
    with pytest.raises(DgrpoError, match=f"= {dealt if dealt % nodes else group}: "):
        check_divides(topology, nodes, prompts, group)
