"""Chat clients: one uses Kafka directly (`chat.messages`, `chat.responses`, `chat.deltas`), one uses HTTP."""

from connectors.chat_client.kafka_client import ChatClient
from connectors.connector import Connector

__all__ = ["CONNECTOR", "ChatClient"]

CONNECTOR = Connector(name="chat_client")
