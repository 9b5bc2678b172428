"""The exchange: how completions travel, and what is believed of them on arrival.

* `base.py`: `Message`, `Exchange` (an all-gather)
* `admission.py`: a peer's claims become `Received` records, or are counted and dropped
* `spelling.py`: which token ids are believed of those that decode to a text
* `arrival.py`: whether what attacks write arrives, before a run
(in one process, `swarm.Seat` is the exchange)

To add one: a class with an `all_gather`; the round does not care how messages travel.
"""

from dgrpo.exchange.base import Exchange, Message

__all__ = ["Exchange", "Message"]
