"""How records move: the processor contract, keyed lanes, transactional publishing, dead letters, the embedded broker.

Kafka, aiokafka and FastStream are known here and nowhere above. Modules are imported where they are used, because the
Kafka client takes its time to load.
"""

from streams.contract import Group, Processor, Publication, Reject, Retry, RuntimeView

__all__ = ["Group", "Processor", "Publication", "Reject", "Retry", "RuntimeView"]
