"""What holds for every test.

One thread per worker: the suite runs in two processes, and sums then have one order. No property is
timed: an example may take long on a busy machine.
"""

import os
from pathlib import Path

import hypothesis
import pytest
import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of commands that tests start, beside other tests
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge that rejects one phrase and nothing else (tests/judging/small_judge.py)."""
    from tests.judging.small_judge import teach_judge

    folder = tmp_path_factory.mktemp("judge") / "small-judge"
    teach_judge(folder)
    return folder
