"""Screening for other people's trainers: the defenses of a swarm, without a swarm.

* `guard.py`: `Guard`, a receiver around a model of one's own

To add a defense: see `dgrpo.defenses`; a guard takes whatever a swarm takes.
"""

from dgrpo.guard.guard import Guard

__all__ = ["Guard"]
