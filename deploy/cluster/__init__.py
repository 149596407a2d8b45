"""Real Apache Kafka and Apache Cassandra on this machine, for tests, for benchmarks and for manual experiments.

Each server is one Java process that listens on 127.0.0.1 and keeps all its data in one folder. Maven fetches the jars once.
`python -m deploy.cluster` starts both in the foreground.
"""

from deploy.cluster.errors import ClusterError
from deploy.cluster.jars import fetch_jars
from deploy.cluster.java import find_java
from deploy.cluster.servers import CassandraServer, KafkaServer

__all__ = ["CassandraServer", "ClusterError", "KafkaServer", "fetch_jars", "find_java"]
