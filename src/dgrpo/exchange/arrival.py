"""Whether what attacks write arrives: a tokenizer may make another text of it.

Many tokenizers normalise (NFC, NFKC) or fold white space. A text without ids that does not survive
the receiver's tokenizer is dropped, and the run would show an attack that "failed". Honest nodes
send ids, which decode to their text by definition. Leaves out attacks that say nothing of what they
write (`Attack.written`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from itertools import islice

from dgrpo.attacks import Attack, RewardedAttack
from dgrpo.errors import DgrpoError
from dgrpo.exchange.admission import Admission
from dgrpo.records import Prompt
from dgrpo.tasks.base import LoadedTask

TRIED = 64
"""Completions of an attack that are sent through admission before a run."""
_SHOWN = 40
"""Characters of a text in a message, from a little before the place where it is changed. They are
written as ASCII, since texts that a tokenizer changes may look the same."""
_log = logging.getLogger(__name__)


def check_arrival(
    attack: Attack,
    task: LoadedTask,
    receivers: Mapping[str, Admission],
    tokenizers: Collection[str] = (),
) -> None:
    """Raise DgrpoError if every receiver's tokenizer changes all that the attack writes.

    receivers: rules of the honest nodes, by the name of their model. tokenizers: digests of the
    senders', if any may differ from a receiver's. Where some of the completions arrive at some of
    the receivers, the lost ones are logged as a warning. So are all of them where a vote over
    samples takes the place of the dataset's solutions.
    """
    pairs = list(islice(attack.written(task), TRIED))
    texts = [text for _, text in pairs]
    lost = {
        name: _lost(pairs, admission, not set(tokenizers) - {admission.model.tokenizer_digest})
        for name, admission in receivers.items()
    }
    told = "; ".join(f"{name} {one}" for name, (_, one) in lost.items() if one)
    if not told:
        return
    problem = f"attack {attack.name}: of {len(texts)} completions that it writes {told}"
    by_vote = isinstance(attack, RewardedAttack) and attack.source_of_solutions.votes
    if not by_vote and all(changed == len(texts) for changed, _ in lost.values()):
        raise DgrpoError(
            problem,
            remedy="change the attack's settings or the data's solutions so that the tokenizer "
            "keeps them, or take a model whose tokenizer does not normalise",
        )
    _log.warning("%s", problem)


def _lost(
    pairs: Sequence[tuple[Prompt, str]], admission: Admission, same_tokenizer: bool
) -> tuple[int, str]:
    """How many of the texts a receiver's tokenizer changes, and a sentence on all that it drops."""
    texts = [text for _, text in pairs]
    most = [admission.longest(prompt, same_tokenizer) for prompt, _ in pairs]
    fates = [admission.own_ids(text, longest) for text, longest in zip(texts, most, strict=True)]
    changed = [t for t, fate in zip(texts, fates, strict=True) if fate == "ids-mismatch"]
    parts = []
    if changed:
        parts.append(f"drops {len(changed)}: its tokenizer {_became(changed[0], admission)}")
    if texts and fates.count("too-long") == len(texts):  # some are usual: samples take their place
        parts.append(f"has no room for any: they have more than {max(most)} tokens")
    return len(changed), ", and ".join(parts)


def _became(text: str, admission: Admission) -> str:
    """What the tokenizer makes of a text that it does not keep."""
    back = admission.model.decode(admission.model.encode(text))
    if back == text:
        return f"takes a part of it for the end token: {text[:_SHOWN]!a}"
    pairs = enumerate(zip(text, back, strict=False))
    apart = next((at for at, (a, b) in pairs if a != b), min(len(text), len(back)))
    start = max(0, apart - _SHOWN // 2)
    before, after = (one[start : start + _SHOWN] for one in (text, back))
    return f"makes {after!a} of {before!a}"
