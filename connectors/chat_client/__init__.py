"""Chat clients: on plain Kafka, which produces to `chat.messages` and reads `chat.responses` and `chat.deltas`, and over HTTP."""

from connectors.chat_client.kafka_client import ChatClient
from connectors.connector import Connector

__all__ = ["CONNECTOR", "ChatClient"]

CONNECTOR = Connector(name="chat_client")
