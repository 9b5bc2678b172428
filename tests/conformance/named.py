"""Every registered plug-in, and the examples."""

from pathlib import Path

from dgrpo.plugins import KINDS, available

EXAMPLES = Path(__file__).parents[2] / "examples"
SIGNATURE = f"{EXAMPLES / 'my_attack.py'}:Signature"
CHAMELEON = f"{EXAMPLES / 'my_adaptive_attack.py'}:Chameleon"
MAILBOXES = f"{EXAMPLES / 'my_exchange.py'}:Mailboxes"
CHORUS = f"{EXAMPLES / 'my_defense.py'}:Chorus"
REPLAY = f"{EXAMPLES / 'my_stateful_defense.py'}:Replay"
IN_FILES = {
    "attacks": [SIGNATURE, CHAMELEON],
    "defenses": [REPLAY, CHORUS],
    "exchanges": [MAILBOXES],
}
NAMES = {kind: [*available(kind), *IN_FILES.get(kind, ())] for kind in KINDS}
