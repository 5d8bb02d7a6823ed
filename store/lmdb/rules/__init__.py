"""The rules of store/rules/utxo.lua in Python, for the embedded store: by the same names, with the same answers.

A rule is called as `rule(record, *arguments)`; record None: there is none. Where it wants the record kept as it is now
it sets `is_changed`; one that refuses has changed nothing. Where it raises, the record is to be thrown away.

answers             what a rule answers
arguments           what is wrong with a rule's arguments
presence            which records are there for the rules
utxos               a UTXO, and who has it
delete_at_height    the delete-at-height rule, which ends the others
spending            spend, spendMulti
giving_back         unspend, release
blocks              setMined, markLongestChain
alerts              freeze, unfreeze, reassign
flags               setConflicting, noteConflicting, preserveUntil, expirePreservation, setLocked
children            tellState, incrementSpentExtraRecs, noteChild
pruning             addDeletedChildren
"""

from collections.abc import Callable
from typing import Any, Final

from .alerts import freeze, reassign, unfreeze
from .blocks import mark_longest_chain, set_mined
from .children import increment_spent_extra_recs, note_child, tell_state
from .flags import expire_preservation, note_conflicting, preserve_until, set_conflicting, set_locked
from .giving_back import release, unspend
from .pruning import add_deleted_children
from .spending import spend, spend_multi

RULES: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "spend": spend,
    "spendMulti": spend_multi,
    "unspend": unspend,
    "release": release,
    "setMined": set_mined,
    "markLongestChain": mark_longest_chain,
    "freeze": freeze,
    "unfreeze": unfreeze,
    "reassign": reassign,
    "setConflicting": set_conflicting,
    "noteConflicting": note_conflicting,
    "preserveUntil": preserve_until,
    "expirePreservation": expire_preservation,
    "setLocked": set_locked,
    "tellState": tell_state,
    "incrementSpentExtraRecs": increment_spent_extra_recs,
    "noteChild": note_child,
    "addDeletedChildren": add_deleted_children,
}
