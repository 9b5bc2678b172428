"""One thread per worker: the suite runs in two processes, and sums then have one order."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge that rejects one phrase and nothing else (tests/judging/small_judge.py)."""
    from tests.judging.small_judge import teach_judge

    folder = tmp_path_factory.mktemp("judge") / "small-judge"
    teach_judge(folder)
    return folder
