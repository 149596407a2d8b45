"""Settings: from the command line, `CAUCE_*` variables, `cauce.toml` and defaults, in this order.

Names are the same everywhere: `max_running` is `CAUCE_MAX_RUNNING` in the environment and `max_running` in the file. Packages
declare their own sections: `port` of `[gateway]` is `CAUCE_GATEWAY_PORT`, and `gateway_port` outside the table. Settings are
read once at start, and errors are reported before anything runs. docs/settings.md lists all of them (see `settings_page.py`).
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator
from pydantic.fields import FieldInfo

from cauce.cassandra_access import CassandraAccess
from cauce.log_settings import LogSettings
from connectors.connector import connectors
from connectors.gateway.settings import GatewaySettings, QuotaSettings, RateSettings, RedisAccess
from schemas import PartitionSet, SettingsError, is_id, is_tenant_id
from schemas.common.section import HttpUrl, Section
from schemas.common.server_access import without_credentials
from streams.settings import BrokerSettings, KafkaAccess, PartitionSettings

if TYPE_CHECKING:
    from streams.kafka_servers import Kafka

CONFIG_FILE = "cauce.toml"
OTHER_VARIABLES = ("CAUCE_KEY", "CAUCE_CONFIG", "CAUCE_DEBUG", "CAUCE_CLUSTER_CACHE")
"""Variables with our prefix that are not settings."""

S = TypeVar("S", bound=Section)

_ADDRESS = re.compile(r"^[A-Za-z0-9_.\-]+:\d{1,5}$|^\[[0-9A-Fa-f:.]+\]:\d{1,5}$")


class Settings(BaseModel):
    """All settings. Without `kafka` and `cassandra` they mean the embedded system of this machine (`cauce up`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path = Field(Path("var"), description="folder for all data of the embedded system")
    kafka: str | None = Field(
        None, description="Kafka bootstrap servers, host:port[,host:port]; the embedded broker when not set"
    )
    cassandra: str | None = Field(
        None, description="Cassandra contact points, host:port[,host:port]; SQLite when not set"
    )
    keyspace: str = Field("cauce", pattern=r"^[a-z][a-z0-9_]{0,47}$", description="Cassandra keyspace")
    model: str = Field("auto", min_length=1, description="auto, rules, or provider:model such as ollama:llama3.2")
    model_url: HttpUrl = Field(None, description="URL of an OpenAI-compatible server whose models to use")
    tenant: str = Field("home", description="the tenant that chat, ask and threads act for")
    user: str = Field("owner", description="the user that chat, ask and threads act for")
    replication: int = Field(1, ge=1, le=10, description="copies of each topic and of each row in Cassandra")
    session_timeout_ms: int = Field(
        6000, ge=6000, le=1_800_000, description="ms without a heartbeat after which a worker loses its slots"
    )
    instance_id: str | None = Field(
        None, description="name of a worker: the next worker with this name takes over its slots immediately"
    )
    max_running: int = Field(1024, ge=1, description="records that one worker processes concurrently, per group")
    tenant_running: int | None = Field(
        None, ge=1, description="how many of these may be of one tenant; 3/4 when not set"
    )
    threads: int | None = Field(
        None, ge=1, description="threads of a worker for plain functions of hosted graphs; max_running when not set"
    )
    grace_seconds: float = Field(
        20, ge=0, le=3600, description="seconds that a stopping worker waits for running turns"
    )
    transactions_at_once: int = Field(4, ge=1, le=1000, description="concurrent Kafka transactions of one worker")
    publish_linger_ms: float = Field(
        5, ge=0, le=1000, description="ms for which finished records are batched before publishing"
    )
    health_port: int = Field(0, ge=0, le=65_535, description="port of a worker's health page; 0 takes any free one")
    redis: str | None = Field(
        None, repr=False, description="redis://host:port of the Redis in which several gateways share rate limits"
    )
    otlp_endpoint: HttpUrl = Field(None, description="OpenTelemetry collector to send spans to, http:// or https://")
    graphs: dict[str, str] = Field(
        default_factory=dict, description='LangGraph graphs of your own: name = "module:object" or "./file.py:object"'
    )
    langgraph: Path | None = Field(None, description="a langgraph.json whose graphs to host")
    gateway: GatewaySettings = GatewaySettings()
    rate: RateSettings = RateSettings()
    quota: QuotaSettings = QuotaSettings()
    partitions: PartitionSettings = PartitionSettings()
    broker: BrokerSettings = BrokerSettings()
    log: LogSettings = LogSettings()
    kafka_access: KafkaAccess = KafkaAccess()
    cassandra_access: CassandraAccess = CassandraAccess()
    redis_access: RedisAccess = RedisAccess()
    connectors: Mapping[str, Section] = Field(
        default_factory=lambda: {one.name: one.settings() for one in connectors()}
    )
    """The sections that connectors declare, by name."""
    _file: Path | None = PrivateAttr(None)

    @field_validator("kafka", "cassandra")
    @classmethod
    def _addresses(cls, value: str | None) -> str | None:
        if not value:
            return None
        if "@" in value:
            raise ValueError(
                "it must be addresses alone; a name and a password have settings of their own (docs/operations.md)"
            )
        for address in value.split(","):
            if not _ADDRESS.fullmatch(address.strip()) or not 0 < int(address.rpartition(":")[2]) < 65_536:
                raise ValueError("it must be host:port, or several separated by commas, such as 127.0.0.1:9092")
        return ",".join(address.strip() for address in value.split(","))

    @field_validator("tenant")
    @classmethod
    def _tenant_id(cls, value: str) -> str:
        if not is_tenant_id(value):
            raise ValueError("it must be 1 to 64 lower-case letters, digits, _ or -")
        return value

    @field_validator("user")
    @classmethod
    def _user_id(cls, value: str) -> str:
        if not is_id(value):
            raise ValueError("it must be 1 to 128 letters, digits, _, . or -")
        return value

    @field_validator("instance_id")
    @classmethod
    def _instance(cls, value: str | None) -> str | None:
        if value and not is_id(value):
            raise ValueError("it must be 1 to 128 letters, digits, _, . or -")
        return value or None

    @field_validator("graphs", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        """Parses an environment variable: name=spec, separated by commas."""
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if any(not equals for _, equals, _ in pairs):
            raise ValueError("it must be name=module:object, or several separated by commas")
        return {name.strip(): spec.strip() for name, _, spec in pairs}

    @field_validator("graphs")
    @classmethod
    def _named(cls, value: dict[str, str]) -> dict[str, str]:
        for name, spec in value.items():
            if not is_id(name):
                raise ValueError(f"a graph's name must be 1 to 128 letters, digits, _, . or -, not {name!r:.150}")
            if not all(spec.rpartition(":")):
                raise ValueError(f"{name} must be module:object or ./path/file.py:object, not {spec!r:.150}")
        return value

    def of(self, kind: type[S]) -> S:
        """The settings of the connector with this section."""
        return next(one for one in self.connectors.values() if isinstance(one, kind))

    @property
    def file(self) -> Path | None:
        """The settings file that was read, if any."""
        return self._file

    @property
    def folder(self) -> Path:
        """The base of relative paths in the settings: the folder of the file, or the working directory."""
        return self._file.parent if self._file else Path()

    @property
    def partition_counts(self) -> Mapping[PartitionSet, int]:
        """Partition counts, as arguments of `streams.topic_admin`."""
        return {
            PartitionSet.CONVERSATION: self.partitions.conversation,
            PartitionSet.TENANT: self.partitions.tenant,
        }

    @property
    def state_url(self) -> str:
        """URL of the store, as an argument of `state.open_stores`."""
        if self.cassandra:
            return f"cassandra://{self.cassandra}/{self.keyspace}?rf={self.replication}"
        return f"sqlite://{quote(str(self.data.absolute() / 'state'))}"

    @property
    def store_options(self) -> Mapping[str, Any]:
        """Options of `state.open_stores` beside the URL. Raises `SettingsError` when a file cannot be used."""
        return self.cassandra_access.options() if self.cassandra else {}

    @property
    def kafka_servers(self) -> Kafka:
        """Where Kafka is and how it is used. Raises `SettingsError` when it is not set, or a file cannot be used."""
        if self.kafka is None:
            raise SettingsError(
                "Kafka is not configured: set CAUCE_KAFKA=host:port, or run everything here with: cauce up"
            )
        return self.kafka_access.servers(self.kafka)

    @property
    def graph_threads(self) -> int:
        """Number of threads of one worker for blocking code of hosted graphs."""
        return self.threads or self.max_running

    @property
    def has_state(self) -> bool:
        """Whether there may be state to read: Cassandra is configured, or the data folder has a store."""
        return self.cassandra is not None or (self.data / "state").exists()

    @property
    def embedded(self) -> bool:
        """Whether the settings mean the system of `cauce up` on this machine, rather than a cluster."""
        return self.kafka is None


def load_settings(
    config: Path | None = None, *, environment: Mapping[str, str] | None = None, **given: object
) -> Settings:
    """The effective settings.

    Args:
        config: The file to read; `CAUCE_CONFIG`, or `cauce.toml` in the working directory when None.
        environment: Environment variables; those of the process when None.
        given: Values from the command line, which take precedence; None counts as not given.

    Raises:
        SettingsError: Names the setting, its value, where it comes from and what is allowed.
    """
    environment = os.environ if environment is None else environment
    path = config or (Path(environment["CAUCE_CONFIG"]) if environment.get("CAUCE_CONFIG") else None)
    from_file = _from_file(path)
    found = {
        **from_file,
        **_from_environment(environment),
        **{name: _Given(value, "the command line") for name, value in given.items() if value is not None},
    }
    if unknown := [name for name in given if name not in _PLACES]:
        raise TypeError(f"there is no setting {unknown[0]!r}")
    values: dict[str, Any] = {}
    for name, one in found.items():
        section, _, field = _PLACES[name].rpartition(".")
        (values.setdefault(section, {}) if section else values)[field] = one.value
    given_to = {name: values.pop(name, {}) for name in _OF_CONNECTORS}
    problems: list[Any] = []
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems += error.errors(include_url=False)
    made: dict[str, Section] = {}
    for name, kind in _OF_CONNECTORS.items():
        try:
            made[name] = kind(**given_to[name])
        except ValidationError as error:
            problems += [{**one, "loc": (name, *one["loc"])} for one in error.errors(include_url=False)]
    if problems:
        raise SettingsError(_explain(problems, found))
    settings = settings.model_copy(update={"connectors": {**settings.connectors, **made}})
    if from_file:
        settings._file = path or Path(CONFIG_FILE)
    return settings


@dataclass(frozen=True, slots=True)
class _Given:
    """A value and its origin."""

    value: Any
    origin: str


def all_settings() -> dict[str, FieldInfo]:
    """All settings by name; in sections, with the section's name in front: `gateway_port`."""
    own_fields = (
        (section, own, field) for section, kind in SECTIONS.items() for own, field in kind.model_fields.items()
    )
    return plain_settings() | {full_name(section, own): field for section, own, field in own_fields}


def plain_settings() -> dict[str, FieldInfo]:
    """The settings outside sections, by name."""
    return {n: field for n, field in Settings.model_fields.items() if n not in SECTIONS and n != "connectors"}


_OF_CONNECTORS = {one.name: one.settings for one in connectors() if one.settings.model_fields}
SECTIONS: Mapping[str, type[Section]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
} | _OF_CONNECTORS
"""All sections by name, including those of connectors."""


def full_name(section: str, own: str) -> str:
    """The name of a section's setting outside its table: `gateway_port`."""
    return f"{SECTIONS[section].PREFIX or section}_{own}"


_PLACES = {name: name for name in plain_settings()} | {
    full_name(section, own): f"{section}.{own}" for section, kind in SECTIONS.items() for own in kind.model_fields
}
"""By name: where it stands."""
_FILES = [name for name, field in all_settings().items() if "Path" in str(field.annotation)]


def variables() -> dict[str, tuple[str, ...]]:
    """For each setting, its environment variables; the first one that is set wins."""
    theirs = {
        full_name(section, own): names for section, kind in SECTIONS.items() for own, names in kind.VARIABLES.items()
    }
    return {name: (f"CAUCE_{name.upper()}", *theirs.get(name, ())) for name in all_settings()}


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables with our prefix that match no setting, most likely misspelled."""
    known = {variable for names in variables().values() for variable in names} | set(OTHER_VARIABLES)
    services = [v.removesuffix("_SERVICE_HOST") for v in environment if v.endswith("_SERVICE_HOST")]  # of Kubernetes
    theirs = {f"{service}_PORT" for service in services}
    below = tuple(f"{service}_{of}" for service in services for of in ("SERVICE_", "PORT_"))
    ours = (v for v in environment if v.startswith("CAUCE_") and v not in known | theirs)
    return sorted(v for v in ours if not v.startswith(below))


def _from_environment(environment: Mapping[str, str]) -> dict[str, _Given]:
    found = {}
    for name, names in variables().items():
        variable = next((v for v in names if environment.get(v) and not _is_service_link(v, environment)), None)
        if variable:
            found[name] = _Given(environment[variable], f"the environment variable {variable}")
    return found


def _is_service_link(variable: str, environment: Mapping[str, str]) -> bool:
    """Whether Kubernetes has put it there, for a Service that is called like a section: `tcp://IP:PORT`."""
    service = variable.removesuffix("_PORT")
    return environment[variable].startswith(("tcp://", "udp://")) and f"{service}_SERVICE_HOST" in environment


def _from_file(path: Path | None) -> dict[str, _Given]:
    file = path or Path(CONFIG_FILE)
    try:
        text = file.read_text(encoding="utf-8-sig")  # TOML is UTF-8 whatever the locale, and some editors mark it
    except FileNotFoundError:
        if path is None:
            return {}
        raise SettingsError(f"the settings file {file} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {file} cannot be read: {error}") from None
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"the settings file {file} is not TOML: {error}") from None
    given: dict[str, _Given] = {}
    for name, value in found.items():
        if name in SECTIONS and isinstance(value, dict):
            for own, one in value.items():
                full = full_name(name, own)
                if own not in SECTIONS[name].model_fields:
                    raise SettingsError(
                        f"{file}: [{name}] has no setting {own!r}{_similar(own, SECTIONS[name].model_fields)}"
                    )
                if full in found:
                    raise SettingsError(f"{file}: {own!r} of [{name}] also stands outside as {full}; leave one out")
                given[full] = _Given(one, f"[{name}] of {file}")
        elif name in SECTIONS:
            raise SettingsError(f"{file}: {name} is a table; write [{name}] and its settings below")
        elif name in _PLACES:
            given[name] = _Given(value, str(file))
        else:
            raise SettingsError(f"{file}: there is no setting {name!r}{_similar(name, _PLACES)}")
    for name in _FILES:
        if name in given and isinstance(given[name].value, str):
            given[name] = _Given(file.parent / given[name].value, given[name].origin)
    return given


def _similar(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f". The settings are: {', '.join(sorted(known))}"


def _explain(problems: Sequence[Any], found: Mapping[str, _Given]) -> str:
    """For each problem: the setting, its value, its origin, and what is allowed."""
    sentences = []
    for problem in problems:
        loc = problem["loc"]
        allowed = problem["msg"].removeprefix("Value error, ").replace("Input should", "it should")
        if len(loc) == 1 and loc[0] in SECTIONS:
            sentences.append(f"[{loc[0]}]: {allowed}")
            continue
        name = full_name(loc[0], loc[1]) if loc[0] in SECTIONS else str(loc[0])
        field, given = all_settings()[name], found[name]
        text = without_credentials(given.value) if isinstance(given.value, str) else given.value
        value = "(hidden)" if "Secret" in str(field.annotation) else repr(text)
        sentences.append(f"{name} is {value} in {given.origin}, but {allowed} ({field.description})")
    return "; ".join(sentences)
