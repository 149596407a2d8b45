"""A chat model that follows rules: what the installation has when no language model was found.

It understands a few dozen ways of asking for mail and tasks, in English and Spanish, abstains from everything else, and
says what it is. `intents` and `slots` read a sentence, `plans` decides the next step, `phrasing` writes the answer.
"""

from connectors.models.rules.phrasing import SUGGESTED_PHRASES
from connectors.models.rules.rule_model import RulesChatModel

__all__ = ["SUGGESTED_PHRASES", "RulesChatModel"]
