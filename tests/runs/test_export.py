"""A trained model leaves its run as a folder that others load, or is refused with the reason."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cli.test_cli import dgrpo
from tests.reproduce.finished_runs import experiment, write_finished
from transformers import AutoModelForCausalLM, AutoTokenizer

from dgrpo.errors import DgrpoError
from dgrpo.experiment import Experiment, experiment_from
from dgrpo.policy.model import digest_of, load_model
from dgrpo.policy.settings import ModelSettings
from dgrpo.runs.checkpoint import load_checkpoint
from dgrpo.runs.export import export_model
from dgrpo.runs.folder import KEPT, RunFolder, updates_done
from dgrpo.runs.running import run_experiment

PICKY = '''
from typing import ClassVar
from pathlib import Path
from dgrpo.defenses import StatelessDefense
from dgrpo.records import Verdict

Path(__file__).with_name("imported").touch()


class Picky(StatelessDefense):
    """Node 0 does not believe the attacker."""

    name: ClassVar[str] = "picky"

    async def screen(self, batch, node):
        return [Verdict(node.name != "node-0" or r.sender != "node-3", 0.0) for r in batch.received]
'''


def play(of: Experiment, out: Path, seed: int = 0) -> Path:
    run_experiment(of, seed, out, lambda line: None)
    return out / f"seed-{seed}"


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rounds of nodes that part ways: node 0, the other honest ones, the attacker."""
    folder = tmp_path_factory.mktemp("parted")
    (folder / "picky.py").write_text(PICKY)
    of = experiment(defense=[{"name": f"{folder / 'picky.py'}:Picky"}])
    return play(of, folder / "out")


def weights_of(seed: Path, node: int) -> dict[str, torch.Tensor]:
    """A node's weights in the checkpoint."""
    _, state = load_checkpoint(seed)
    assert state is not None
    weights: dict[str, torch.Tensor] = state["learners"][state["replica_of"][node]]["weights"]
    return weights


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("node", [0, 1, 3])
def test_the_folder_holds_the_nodes_weights_for_everyone_to_load(
    parted: Path, tmp_path: Path, node: int
) -> None:
    out = tmp_path / "new" / "folder"
    trained = export_model(parted, out, node)
    assert trained.alike == ((0,) if node == 0 else (1, 2, 3))
    network = AutoModelForCausalLM.from_pretrained(out)
    assert equal(network.state_dict(), weights_of(parted, node))
    ours, base = load_model(ModelSettings(name=str(out))), load_model(ModelSettings())
    assert ours.tokenizer_digest == base.tokenizer_digest  # peers of the base model understand it
    assert ours.weights_digest() != base.weights_digest()
    assert AutoTokenizer.from_pretrained(out).eos_token == base.tokenizer.eos_token
    assert (out / "generation_config.json").exists()
    card = json.loads((out / "card.json").read_text())
    assert card["weights_digest"] == ours.weights_digest()
    assert (card["node"], card["malicious"], card["round"]) == (node, node == 3, 2)
    readme = (out / "README.md").read_text()
    assert ("(malicious)" in readme) == (node == 3)
    assert "1 of them were malicious" in readme
    assert {(out / f.name).stat().st_mode & 0o777 for f in out.iterdir()} == {0o644}


def test_nodes_that_parted_ways_have_models_of_their_own(parted: Path) -> None:
    assert not equal(weights_of(parted, 0), weights_of(parted, 1))


def test_the_card_holds_the_experiment_and_what_was_measured(parted: Path, tmp_path: Path) -> None:
    export_model(parted, tmp_path / "out")
    readme = (tmp_path / "out" / "README.md").read_text()
    settings = tomllib.loads(readme.split("```toml\n")[1].split("```")[0])
    recorded = json.loads((parted / "experiment.json").read_text())
    assert experiment_from(settings).digest == recorded["digest"]
    last = json.loads((parted / "rounds.jsonl").read_text().splitlines()[-1])
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["measured"]["accuracy"] == last["accuracy"]
    assert card["measured"]["held_out_samples"] == 8
    assert f"{last['accuracy']:.1%} [" in readme
    assert "| held-out samples | 8 | 8 |" in readme


def test_a_run_plays_on_from_an_exported_model(parted: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    result = dgrpo("export", parted, "--out", out)
    assert result.returncode == 0, result.stderr
    assert "node 0 after 2 rounds" in result.stdout
    seed = play(experiment(rounds=1, model=str(out)), tmp_path / "second")
    header = json.loads((seed / "experiment.json").read_text())
    assert header["model_digests"] == [digest_of(str(out))]


def test_an_interrupted_run_gives_the_model_of_its_checkpoint(parted: Path, tmp_path: Path) -> None:
    seed = tmp_path / "seed-0"
    shutil.copytree(parted, seed)
    (seed / "summary.json").unlink()
    lines = (seed / "rounds.jsonl").read_text().splitlines(keepends=True)
    later = json.dumps({**json.loads(lines[-1]), "round": 3, "accuracy": 0.123})
    (seed / "rounds.jsonl").write_text("".join(lines) + later + "\n")  # after the checkpoint
    (seed / "checkpoint").rename(seed / "checkpoint.old")  # stopped between two renames
    assert export_model(seed, tmp_path / "out").round == updates_done(seed) == 2
    assert "12.3%" not in (tmp_path / "out" / "README.md").read_text()


def test_no_plug_in_of_the_run_is_executed(parted: Path, tmp_path: Path) -> None:
    mark = parted.parents[1] / "imported"
    assert mark.exists()
    mark.unlink()
    result = dgrpo("export", parted, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert not mark.exists()


def test_nothing_is_overwritten(parted: Path, tmp_path: Path) -> None:
    for name in ("full", "file", "link"):
        taken = tmp_path / name
        if name == "full":
            taken.mkdir()
            (taken / "mine.txt").write_text("mine")
        elif name == "file":
            taken.write_text("mine")
        else:
            taken.symlink_to(tmp_path / "full")
        with pytest.raises(DgrpoError, match=r"is not empty|is no folder") as caught:
            export_model(parted, taken)
        assert "--out" in caught.value.remedy
    assert [one.name for one in (tmp_path / "full").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    export_model(parted, tmp_path / "empty")
    assert (tmp_path / "empty" / "config.json").exists()


def test_a_folder_that_cannot_be_made_is_named_and_nothing_is_left(
    parted: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DgrpoError, match="cannot be written"):
        export_model(parted, tmp_path / "file" / "out")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_one_run_of_several_must_be_named(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_finished(tmp_path, experiment(), seed)
    with pytest.raises(DgrpoError, match="holds 2 runs") as caught:
        export_model(tmp_path, tmp_path / "out")
    assert "seed-0" in caught.value.remedy


def test_figures_alone_have_no_model(tmp_path: Path) -> None:
    """As committed runs are."""
    with pytest.raises(DgrpoError, match="no checkpoint and no model"):
        export_model(write_finished(tmp_path, experiment()), tmp_path / "out")


@pytest.mark.parametrize("node", [-1, 4])
def test_a_node_that_is_not_there_is_named(parted: Path, tmp_path: Path, node: int) -> None:
    with pytest.raises(DgrpoError, match=f"node {node} is none of the run's 4 nodes") as caught:
        export_model(parted, tmp_path / "out", node)
    assert "0 to 3" in caught.value.remedy


def test_another_base_model_of_that_name_is_refused(parted: Path, tmp_path: Path) -> None:
    """Its tokenizer need not be that of the weights."""
    seed = tmp_path / "seed-0"
    shutil.copytree(parted, seed)
    header = json.loads((seed / "experiment.json").read_text())
    (seed / "experiment.json").write_text(json.dumps({**header, "model_digests": ["0" * 16]}))
    with pytest.raises(DgrpoError, match="is not what the run began with") as caught:
        export_model(seed, tmp_path / "out")
    assert "put the base model" in caught.value.remedy
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["cut", "no state", "other shapes"])
def test_a_damaged_checkpoint_is_named(parted: Path, tmp_path: Path, damage: str) -> None:
    seed = tmp_path / "seed-0"
    shutil.copytree(parted, seed)
    folder = RunFolder(seed)
    _, state = load_checkpoint(folder.path)
    assert state is not None
    if damage == "cut":
        file = seed / "checkpoint" / "state.pt"
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "no state":
        folder.checkpoint(2, {"learners": []})
    else:
        for learner in state["learners"]:
            learner["weights"] = {name: w[:1] for name, w in learner["weights"].items()}
        folder.checkpoint(2, state)
    with pytest.raises(DgrpoError, match=r"damaged|does not fit"):
        export_model(seed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def keeping(rounds: int = 2, model: bool = True) -> Experiment:
    return experiment(rounds=rounds, recording={"checkpoint_every": 2, "model": model})


def test_a_finished_run_keeps_its_model_where_that_is_asked(tmp_path: Path) -> None:
    seed = play(keeping(), tmp_path / "run")
    kept = seed / KEPT
    assert equal(AutoModelForCausalLM.from_pretrained(kept).state_dict(), weights_of(seed, 0))
    assert keeping().digest == experiment().digest
    play(keeping(3), tmp_path / "run")  # it goes on, and keeps the model of its new end
    assert json.loads((kept / "card.json").read_text())["round"] == 3
    assert equal(AutoModelForCausalLM.from_pretrained(kept).state_dict(), weights_of(seed, 0))
    shutil.rmtree(seed / "checkpoint")
    (kept / "link.json").symlink_to("/etc/hostname")
    trained = export_model(seed, tmp_path / "out", 2)  # node 2 has the weights of node 0
    assert (trained.node, trained.round) == (0, 3)
    assert digest_of(str(tmp_path / "out")) == digest_of(str(_without(kept, "link.json")))
    assert not (tmp_path / "out" / "link.json").exists()


def test_a_kept_model_of_another_node_is_not_passed_off(tmp_path: Path) -> None:
    seed = play(keeping(), tmp_path / "run")
    shutil.rmtree(seed / "checkpoint")
    card = json.loads((seed / KEPT / "card.json").read_text())
    (seed / KEPT / "card.json").write_text(json.dumps({**card, "nodes_alike": [0]}))
    with pytest.raises(DgrpoError, match="is the model of node 0") as caught:
        export_model(seed, tmp_path / "out", 1)
    assert "--node 0" in caught.value.remedy


def test_a_finished_run_can_be_asked_for_its_model_later(tmp_path: Path) -> None:
    seed = play(keeping(model=False), tmp_path / "run")
    assert not (seed / KEPT).exists()
    before = (seed / "rounds.jsonl").read_bytes()
    play(keeping(), tmp_path / "run")
    assert equal(
        AutoModelForCausalLM.from_pretrained(seed / KEPT).state_dict(), weights_of(seed, 0)
    )
    assert (seed / "rounds.jsonl").read_bytes() == before
    header: dict[str, Any] = json.loads((seed / "experiment.json").read_text())
    assert header["experiment"]["recording"]["model"] is True


def test_generation_settings_that_contradict_themselves_do_not_keep_a_model_in(
    tmp_path: Path,
) -> None:
    """Published models give a temperature and no do_sample; transformers refuses to save these."""
    base = tmp_path / "base"
    shutil.copytree(Path(_shipped()), base)
    (base / "generation_config.json").write_text(
        json.dumps({"temperature": 0.6, "top_p": 0.9, "eos_token_id": 0, "pad_token_id": 0})
    )
    seed = play(experiment(rounds=1, model=str(base)), tmp_path / "run")
    export_model(seed, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text())["do_sample"]


def test_a_card_of_a_strangers_run_stays_text(parted: Path, tmp_path: Path) -> None:
    seed = tmp_path / "seed-0"
    shutil.copytree(parted, seed)
    header = json.loads((seed / "experiment.json").read_text())
    header["experiment"]["name"] = "x\n# Trust me | \x1b[31m <script>"
    header["experiment"]["claim"] = "```\n# Out of the fence\n`````"
    (seed / "experiment.json").write_text(json.dumps(header))
    export_model(seed, tmp_path / "out")
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "\x1b" not in readme
    assert "<script>" not in readme.split("## The experiment")[0]
    assert "\n# Trust me" not in readme
    fence = readme.split("## The experiment\n\n")[1].partition("toml")[0]
    assert len(fence) > 5
    assert readme.count(fence) == 2


def _without(folder: Path, name: str) -> Path:
    (folder / name).unlink()
    return folder


def _shipped() -> str:
    from dgrpo.policy.model import locate

    return locate("gsm-nano")
