"""Whose fault a failure is, as far as anyone can know."""

from __future__ import annotations

from dgrpo.judging.suspicion import Suspicion


def test_without_texts_every_failure_is_an_outage() -> None:
    suspicion = Suspicion()
    assert not suspicion.provoked()
    assert not suspicion.provoked(suspicion.probe_started())


def test_texts_are_suspect_until_a_later_probe_is_answered() -> None:
    suspicion = Suspicion()
    with suspicion.texts_out():
        assert suspicion.provoked()
    assert suspicion.provoked()
    suspicion.answered(suspicion.probe_started())
    assert not suspicion.provoked()


def test_a_probe_clears_nothing_that_was_out_or_sent_after_it_began() -> None:
    suspicion = Suspicion()
    early = suspicion.probe_started()
    with suspicion.texts_out():
        suspicion.answered(early)
        suspicion.answered(suspicion.probe_started())
    assert suspicion.provoked()
    assert suspicion.provoked(early)


def test_a_slow_probe_takes_back_no_clearance() -> None:
    suspicion = Suspicion()
    early = suspicion.probe_started()
    with suspicion.texts_out():
        pass
    suspicion.answered(suspicion.probe_started())
    suspicion.answered(early)
    assert not suspicion.provoked()
