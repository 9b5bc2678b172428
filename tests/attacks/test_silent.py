"""The silent control: a swarm goes on without it, and everyone sees what is missing."""

from __future__ import annotations

import pytest

from dgrpo.experiment import experiment_from
from dgrpo.swarm import Swarm


@pytest.mark.parametrize("topology", ["horizontal", "vertical"])
def test_honest_nodes_learn_from_one_another_and_count_what_is_missing(topology: str) -> None:
    experiment = experiment_from(
        {
            "name": "silent",
            "topology": topology,
            "nodes": 3,
            "malicious": 1,
            "attack": "silent",
            "prompts_per_round": 3,
            "group_size": 6,
            "rounds": 2,
            "task": {"name": "gsm-symbolic", "train": 12, "held_out": 4},
            "evaluation": {"samples": 2, "final_samples": 2},
        }
    )
    swarm = Swarm(experiment, seed=0)
    for record in swarm.play(0):
        assert {one.received.sender for one in record.judged} == {"node-0", "node-1"}
        assert len(record.judged) == 12
        assert record.violations == {"missing": 6}
    assert swarm.nodes[2].labels == {}
