"""Whether a folder holds the run that is asked for, measured as asked, and can go on to its end.

Everything is checked before anything in the folder is touched. Settings outside the digest do not
make another run, so that a finished run can be extended; but one curve is of one measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from dgrpo.errors import DgrpoError
from dgrpo.experiment import OUTSIDE_DIGEST

COMPARED = ("schema", "digest", "seed", "model_digests", "pool_digest")
"""Fields of experiment.json that must be equal for a run to go on; rounds may grow."""
RECORDED_LATER = ("defense_model_digests", "solutions_digest", "measure_sources")
"""The same for fields that older runs do not have."""
SAMPLES = ("samples", "final_samples")
"""Settings of the evaluation that every point of a run must have in common."""


@dataclass(frozen=True)
class Held:
    """What a folder holds that a further call would keep."""

    path: Path
    description: Mapping[str, Any]
    """experiment.json; empty where there is none."""
    points: Sequence[Mapping[str, Any]]
    """The lines of rounds.jsonl that would be kept, in order."""
    done: int
    """Updates up to the last checkpoint."""
    finished: int
    """The round at which the run is finished; 0 while it is not."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The recorded experiment."""
        settings = self.description.get("experiment")
        return settings if isinstance(settings, Mapping) else {}

    @property
    def rounds(self) -> int | None:
        """The rounds that were asked for last."""
        rounds = self.settings.get("rounds")
        return rounds if isinstance(rounds, int) else None

    def listed(self, key: str) -> list[Any]:
        """A list of the description; empty where it has none."""
        value = self.description.get(key)
        return list(value) if isinstance(value, list) else []


def check_run(held: Held, wanted: Mapping[str, Any]) -> None:
    """Raise DgrpoError unless what is held is the run that `wanted` describes, or a part of it.

    It names what differs, what lies there, and the way out.
    """
    asked = int(wanted["experiment"]["rounds"])
    if held.description:
        _check_same(held, wanted)
    _check_rounds(held, asked)
    _check_measured(held, wanted["experiment"]["evaluation"])


def _check_same(held: Held, wanted: Mapping[str, Any]) -> None:
    ours, theirs = wanted["experiment"], held.settings
    fields = [f for f in COMPARED if held.description.get(f) != wanted[f]]
    recorded = [f for f in RECORDED_LATER if f in held.description]
    fields += [f for f in recorded if held.description[f] != wanted.get(f)]
    if theirs.get("measure") != ours["measure"]:
        fields.append("experiment.measure")  # one curve is of one measure
    if not fields:
        return
    if "digest" in fields:
        fields = [
            f"experiment.{name}"
            for name in ours
            if ours[name] != theirs.get(name) and name not in OUTSIDE_DIGEST
        ] or fields
    first = fields[0]
    name = first.partition(".")[2]
    there, here = (
        (theirs.get(name), ours.get(name))
        if name
        else (held.description.get(first), wanted.get(first))
    )
    raise DgrpoError(
        f"{held.path} holds another run: {first} is {there!r} there and {here!r} here",
        remedy="give another --out, or delete that folder",
    )


def _check_rounds(held: Held, asked: int) -> None:
    """Raise DgrpoError where the folder holds more rounds than asked for, or cannot go on."""
    path, done, finished = held.path, held.done, held.finished
    begun_for = held.rounds or asked
    if asked < finished:
        raise DgrpoError(
            f"{path} is finished at round {finished}, and rounds = {asked} is asked for"
            + _figures(held.points, asked),
            remedy=f"ask for rounds = {finished}; or give another --out for a run that ends at "
            f"round {asked}, with as many held-out samples as a last round has",
        )
    least = done if begun_for <= done else done + 1  # points between have few samples
    if not finished and asked < least:
        raise DgrpoError(
            f"{path} has gone on to round {done} of {begun_for}, and rounds = {asked}"
            + (": measured on few samples, as no last round is" if asked == done else ""),
            remedy=f"ask for rounds = {least} or more, or give another --out",
        )
    if 0 < finished < asked and not done:
        raise DgrpoError(
            f"{path} is finished at round {finished}, without a checkpoint from which "
            f"to go on to rounds = {asked}",
            remedy="give another --out, or delete that folder",
        )


def _figures(points: Sequence[Mapping[str, Any]], asked: int) -> str:
    """What a longer run had at the round that is asked for, where its line is whole."""
    if not asked < len(points):
        return ""
    accuracy, samples = (points[asked].get(name) for name in ("accuracy", "held_out_samples"))
    if not isinstance(accuracy, float | int) or not isinstance(samples, int):
        return ""
    success = points[asked].get("attack_success")
    measured = success.items() if isinstance(success, Mapping) else ()
    rates = [f", attack success ({n}) {r:.1%}" for n, r in measured if isinstance(r, float | int)]
    return (
        f"; at round {asked} it had accuracy {accuracy:.1%}{''.join(rates)}, on {samples:,} "
        "held-out samples"
    )


def _check_measured(held: Held, wanted: Mapping[str, Any]) -> None:
    """Raise DgrpoError where points would be kept that were measured on other samples."""
    counts = [
        (int(point["round"]), point["held_out_samples"])
        for point in held.points
        if isinstance(point.get("held_out_samples"), int)
    ]
    recorded = held.settings.get("evaluation")
    theirs = recorded if isinstance(recorded, Mapping) else {}
    if not counts:
        return
    differing = [name for name in SAMPLES if theirs.get(name) != wanted[name]]
    lies_there = f"{held.path} holds points measured on {_ranges(counts)}"
    if differing:
        pairs = (
            f"evaluation.{name} is {theirs.get(name)} there and {wanted[name]} here"
            for name in differing
        )
        same = " ".join(f"--evaluation.{name} {theirs.get(name)}" for name in differing)
        raise DgrpoError(
            f"{lies_there}: {', and '.join(pairs)}",
            remedy=f"{same} goes on with what lies there; to measure as you ask, give another "
            "--out, or delete that folder",
        )
    if any(count not in (wanted[name] for name in SAMPLES) for _, count in counts):
        named = ", ".join(f"{name} = {wanted[name]}" for name in SAMPLES)
        raise DgrpoError(
            f"{lies_there}, which its evaluation ({named}) does not name: calls with different "
            "settings were mixed there",
            remedy="give another --out, or delete that folder",
        )


def _ranges(counts: Sequence[tuple[int, int]]) -> str:
    """How many held-out samples at which rounds: `4 held-out samples (rounds 0 to 3)`.

    >>> _ranges([(0, 1024), (1, 64), (2, 64)])
    '1,024 held-out samples (round 0), 64 (rounds 1 to 2)'
    """
    told: list[str] = []
    for samples, group in groupby(counts, key=lambda pair: pair[1]):
        rounds = [number for number, _ in group]
        first, last = rounds[0], rounds[-1]
        place = f"round {first}" if first == last else f"rounds {first} to {last}"
        told.append(f"{samples:,}{'' if told else ' held-out samples'} ({place})")
    return ", ".join(told)


def changed_settings(held: Held, wanted: Mapping[str, Any]) -> list[Any]:
    """`earlier_settings` of experiment.json: what rounds so far had that later ones will not.

    Only settings that change no figure can differ: what is recorded, and how many examples.
    """
    earlier = held.listed("earlier_settings")
    if not held.points:
        return earlier
    then = {name: held.settings.get(name) for name in ("evaluation", "recording")}
    now = wanted["experiment"]
    changed = any(
        value != now[name].get(knob)
        for name, knobs in then.items()
        if isinstance(knobs, Mapping)
        for knob, value in knobs.items()
    )
    return [*earlier, {"up_to_round": len(held.points) - 1, **then}] if changed else earlier
