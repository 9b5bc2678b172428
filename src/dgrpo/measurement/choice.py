"""Which attacks' success a run measures: those that it names, or those that it mounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dgrpo.attacks import Attack
from dgrpo.errors import DgrpoError
from dgrpo.plugins import find, plugin_name


def chosen_measures(given: Sequence[object] | None, attacks: Sequence[object]) -> list[object]:
    """The measures of an experiment that mounts `attacks`.

    given: as the file names them, or None where it names none. A measure given by name alone is the
    mounted attack of that class, knobs included. None: every mounted attack that has a rate. Raises
    DgrpoError for an unknown name, and for one that could be either of two mounted attacks.
    """
    if given is None:
        rated = (type(a) for a in attacks if isinstance(a, Attack) and has_a_rate(a))
        return [_mounted(kind, attacks) for kind in dict.fromkeys(rated)]
    return [_mounted(_named_alone(one), attacks) or one for one in given]


def check_measured(measures: Sequence[Attack], attacks: Sequence[Attack]) -> None:
    """Raise DgrpoError for a mounted attack that has a rate and is not measured.

    A run that mounts one attack and measures another would report that nothing happened.
    """
    measured = {type(measure) for measure in measures}
    for attack in attacks:
        if measured and type(attack) not in measured and has_a_rate(attack):
            name = plugin_name(type(attack))
            raise DgrpoError(
                f"measure = {sorted(map(plugin_name, measured))}: the mounted attack {name!r} "
                "is not in it",
                remedy=f"add it: --measure '[\"{name}\"]'",
            )


def has_a_rate(attack: Attack) -> bool:
    """Whether its success is told completion by completion, as DoS's and the controls' is not."""
    return type(attack).succeeded is not Attack.succeeded


def _named_alone(measure: object) -> type | None:
    """The class of a measure that is a name and no knobs."""
    if isinstance(measure, Mapping) and set(measure) == {"name"}:
        measure = measure["name"]
    return find("attacks", measure) if isinstance(measure, str) else None


def _mounted(kind: type | None, attacks: Sequence[object]) -> object:
    """The mounted attack of a class, if there is one. Raises DgrpoError if two have other knobs."""
    found = [attack for attack in attacks if type(attack) is kind]
    if kind is not None and any(attack != found[0] for attack in found):
        name = plugin_name(kind)
        raise DgrpoError(
            f"measure: {name!r} could be either of two mounted attacks of that name",
            remedy=f'say which: measure = [{{name = "{name}", …}}] with its settings',
        )
    return found[0] if found else None
