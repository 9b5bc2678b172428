"""`dgrpo export`: a node's model, out of a run folder and into an ordinary Hugging Face folder.

The weights come from the run's last checkpoint, finished or not, or from the model that a finished
run has kept (`[recording] model = true`). Config and tokenizer are the base model's, which must be
here. A run folder may be a stranger's: no plug-in that it names is executed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dgrpo.errors import DgrpoError, first_line
from dgrpo.policy.model import LanguageModel, digest_of, load_model
from dgrpo.policy.settings import ModelSettings
from dgrpo.runs.checkpoint import load_checkpoint
from dgrpo.runs.files import read_json
from dgrpo.runs.folder import KEPT
from dgrpo.runs.model_card import CARD, Trained, nodes_of
from dgrpo.runs.model_folder import check_free, copy_model, write_model
from dgrpo.runs.reader import Run, find_runs


def export_model(path: Path, out: Path, node: int = 0) -> Trained:
    """Write the model of `node` into the folder `out`. Returns whose weights they are.

    Raises DgrpoError if `path` is not one run, `out` is not free, there is no such node, or nothing
    is saved; also if the base model is not what the run began with.
    """
    check_free(out)
    found = find_runs([path])
    if len(found) > 1:
        names = ", ".join(str(run.folder) for run in found[:3])
        raise DgrpoError(
            f"{path} holds {len(found)} runs, and each has models of its own",
            remedy=f"name one: {names}{', …' if len(found) > 3 else ''}",
        )
    try:
        return _export(found[0], out, node)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DgrpoError(
            f"{found[0].folder} is damaged: {type(error).__name__}: {first_line(error)}",
            remedy="restore it from a copy",
        ) from error


def _export(run: Run, out: Path, node: int) -> Trained:
    nodes = nodes_of(run)
    if not 0 <= node < nodes:
        raise DgrpoError(
            f"node {node} is none of the run's {nodes} nodes", remedy=f"give 0 to {nodes - 1}"
        )
    updates, state = _checkpoint(run.folder)
    if state is None:
        return _copy_kept(run, out, node)
    replica_of = state["replica_of"]
    replica = replica_of[node]
    alike = tuple(index for index, own in enumerate(replica_of) if own == replica)
    trained = Trained(run, node, alike, updates)
    write_model(out, _with_weights(run, node, state["learners"][replica]["weights"]), trained)
    return trained


def _checkpoint(folder: Path) -> tuple[int, dict[str, Any] | None]:
    """The last checkpoint, looked for twice: a run that goes on replaces it now and then."""
    try:
        return load_checkpoint(folder)
    except DgrpoError:
        time.sleep(1)
        return load_checkpoint(folder)


def _with_weights(run: Run, node: int, weights: dict[str, object]) -> LanguageModel:
    """The node's base model with the weights of the checkpoint."""
    index = node % len(run.settings["model"])
    try:
        settings = ModelSettings(**run.settings["model"][index])
    except ValidationError as error:
        raise DgrpoError.from_validation(error, f"{run.folder}: model", []) from None
    recorded = run.experiment["model_digests"][index]
    if digest_of(settings.name) != recorded:
        raise DgrpoError(
            f"model.name = {settings.name!r} is not what the run began with: its files have the "
            f"digest {digest_of(settings.name)}, and {recorded} is recorded",
            remedy="put the base model of that time back; its config and tokenizer are needed",
        )
    on_cpu = settings.model_copy(update={"device": "cpu", "dtype": "float32"})
    model = load_model(on_cpu, trained=True)
    try:
        model.network.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise DgrpoError(
            f"the checkpoint in {run.folder} does not fit {settings.name!r}: {first_line(error)}"
        ) from error
    return model


def _copy_kept(run: Run, out: Path, node: int) -> Trained:
    """Copy the model that a finished run has kept."""
    kept = run.folder / KEPT
    if not (kept / CARD).is_file():
        raise DgrpoError(
            f"{run.folder} has no checkpoint and no model: nothing of its weights is there",
            remedy="export where the run was played; committed runs are figures alone",
        )
    card = read_json(kept / CARD)
    alike = tuple(map(int, card["nodes_alike"]))
    if node not in alike:
        raise DgrpoError(
            f"{kept} is the model of node {card['node']}, and there is no checkpoint with others",
            remedy=f"give --node {card['node']}",
        )
    copy_model(kept, out)
    return Trained(run, int(card["node"]), alike, int(card["round"]))
