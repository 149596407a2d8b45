"""Chat models: the choice of an agent's model, and the rule-based model that is always available."""

from connectors.connector import Connector
from connectors.models.choice import Detected, ModelCache, ModelChoice, chat_model, detect_model, model_identity
from connectors.models.kinds import is_chat_model
from connectors.models.model_requests import OUTPUT_TOKENS
from connectors.models.names import check_model_name

__all__ = [
    "CONNECTOR",
    "OUTPUT_TOKENS",
    "Detected",
    "ModelCache",
    "ModelChoice",
    "chat_model",
    "check_model_name",
    "detect_model",
    "is_chat_model",
    "model_identity",
]

CONNECTOR = Connector(name="models")
