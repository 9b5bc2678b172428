"""What can be told of a token from the logits that predict it, by name.

A defense names the statistics that it needs; all of them come out of one forward pass, bucket by
bucket, so that no (tokens, vocabulary) tensor outlives its bucket. `logprob` is always there, since
the loss is made of it.

To add one: a function of a `Bucket` in `STATISTICS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch

from dgrpo.errors import DgrpoError, did_you_mean


@dataclass(frozen=True)
class Bucket:
    """A bucket's tokens, with the logits that predict each of them."""

    logits: torch.Tensor
    """(tokens, vocabulary) float32, before the temperature."""
    targets: torch.Tensor
    """(tokens,) int64: the tokens' ids."""
    temperature: float
    """Of sampling; 0 stands for the most likely token."""

    @property
    def scaled(self) -> torch.Tensor:
        """(tokens, vocabulary): the logits at the temperature; unscaled at 0, which has none."""
        return self.logits if self.temperature in (0.0, 1.0) else self.logits / self.temperature


def rank(bucket: Bucket) -> torch.Tensor:
    """(tokens,) int64: entries with a strictly larger logit; 0 is the most likely token."""
    own = bucket.logits.gather(1, bucket.targets[:, None])
    return (bucket.logits > own).sum(dim=-1)


def entropy(bucket: Bucket) -> torch.Tensor:
    """(tokens,) float32: entropy in nats of the distribution that the token was drawn from."""
    logp = bucket.scaled.log_softmax(dim=-1)
    # 0 · −inf is no number, and adds nothing
    return -(logp.exp() * logp).nan_to_num(0.0).sum(dim=-1)


LOGPROB = "logprob"
"""Natural-log probability of each token at the temperature; computed with a gradient."""
STATISTICS: Mapping[str, Callable[[Bucket], torch.Tensor]] = {"rank": rank, "entropy": entropy}
"""The statistics beside `logprob`; none of them carries a gradient."""


def known_statistics() -> frozenset[str]:
    """Names of all statistics per token."""
    return frozenset({LOGPROB, *STATISTICS})


def check_statistics(names: Collection[str]) -> None:
    """Raise DgrpoError for a name that is no statistic."""
    for name in sorted(set(names) - known_statistics()):
        raise DgrpoError(
            f"no statistic per token is called {name!r}",
            remedy=did_you_mean(name, sorted(known_statistics())),
        )
