"""The embedded broker: one small process that speaks the Kafka protocol on loopback, for `cauce up`.

It passes the same conformance suite as Apache Kafka; where they differ, this one is wrong. Start it with
`python -m streams.embedded`, or with `EmbeddedBroker` as a child process.
"""

from streams.embedded.broker_process import EmbeddedBroker

__all__ = ["EmbeddedBroker"]
