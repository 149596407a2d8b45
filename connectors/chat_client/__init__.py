"""A chat client on plain Kafka: it produces to `chat.messages` and reads `chat.responses` and `chat.deltas`."""

from connectors.chat_client.client import ChatClient

__all__ = ["ChatClient"]
