"""The rules of store/rules/utxo.lua in Python, for the embedded store: by the same names, with the same answers.

A rule is called as `rule(record, *arguments)`; record None: there is none. Where it wants the record kept as it is now
it sets `is_changed`; one that refuses has changed nothing. Where it raises, the record is to be thrown away.

answers             what a rule answers
arguments           what is wrong with a rule's arguments
utxos               a UTXO, and who has it
delete_at_height    the delete-at-height rule, which ends the others
spending            spend, spendMulti
giving_back         unspend, release
blocks              setMined
alerts              freeze, unfreeze, reassign
flags               setConflicting, noteConflicting, preserveUntil, setLocked
children            tellState, incrementSpentExtraRecs, noteChild
"""

from collections.abc import Callable
from typing import Any, Final

from .alerts import freeze, reassign, unfreeze
from .blocks import set_mined
from .children import increment_spent_extra_recs, note_child, tell_state
from .flags import note_conflicting, preserve_until, set_conflicting, set_locked
from .giving_back import release, unspend
from .spending import spend, spend_multi

RULES: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "spend": spend,
    "spendMulti": spend_multi,
    "unspend": unspend,
    "release": release,
    "setMined": set_mined,
    "freeze": freeze,
    "unfreeze": unfreeze,
    "reassign": reassign,
    "setConflicting": set_conflicting,
    "noteConflicting": note_conflicting,
    "preserveUntil": preserve_until,
    "setLocked": set_locked,
    "tellState": tell_state,
    "incrementSpentExtraRecs": increment_spent_extra_recs,
    "noteChild": note_child,
}
