"""The exchange: how completions travel, and what is believed of them on arrival.

* `base.py`: `Exchange` (the plug-in: an all-gather), `Message`
* `memory.py`: all nodes in one process
* `envelope.py`: who sent a message, checked against the swarm's roster
* `admission.py`: a peer's claims become `Received` records, or are counted and dropped
* `spelling.py`: which token ids are believed of those that decode to a text
* `arrival.py`: whether what attacks write arrives, before a run

To add one: a file here, or anywhere (`[exchange] name = "my_exchange.py:MyExchange"` in an
experiment), or in your own package with an entry point in `dgrpo.exchanges`. The round does not
care how messages travel.
"""

from dgrpo.exchange.base import AllGather, Connection, Exchange, Message, Roster

BASE = Exchange

__all__ = ["BASE", "AllGather", "Connection", "Exchange", "Message", "Roster"]
