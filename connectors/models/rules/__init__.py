"""A rule-based chat model, used when no language model was found.

It understands a few dozen requests about mail and tasks in English and Spanish, abstains from everything else, and identifies
itself as rule-based. `intents` and `slots` parse a sentence, `plans` decides the next step, `phrasing` writes the answer.
"""

from connectors.models.rules.phrasing import SUGGESTED_PHRASES
from connectors.models.rules.rule_model import RulesChatModel

__all__ = ["SUGGESTED_PHRASES", "RulesChatModel"]
