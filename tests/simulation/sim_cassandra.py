"""Cassandra as its one-partition statements see it: an interpreter of the little CQL that `state/cassandra` uses.

The tables are those of the migrations. Statements happen at one moment; a conditional batch is all or nothing. What is
left out: replicas that disagree, clocks of coordinators, time to live.
"""

from __future__ import annotations

import asyncio
import operator
import re
from collections.abc import AsyncIterator, Callable, Sequence
from importlib.resources import files
from typing import Any

from sim_loop import Node, VirtualLoop
from sim_network import LostAnswer, Network

from schemas import OutcomeUnknown, Unavailable
from state.cassandra.queries import Kind, Query

Row = dict[str, Any]
Test = Callable[[Row, list[Any]], bool]
_TIMEOUT = 2.0
_COMPARE = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class Table:
    """Partitions of rows; a partition's static columns are in its row without a clustering key."""

    def __init__(self, name: str, body: str) -> None:
        self.name = name
        key = re.search(r"PRIMARY KEY \(\(?([\w, ]+?)\)(?:, ([\w, ]+))?\)", body)
        single = re.search(r"(\w+)\s+\w+ PRIMARY KEY", body)
        self.partition_key = tuple((key[1] if key else single[1] if single else "").split(", "))
        self.clustering = tuple(key[2].split(", ")) if key and key[2] else ()
        self.key = (*self.partition_key, *self.clustering)
        self.static = set(re.findall(r"(\w+)\s+\w+ STATIC", body))
        order = re.search(r"CLUSTERING ORDER BY \((.+?)\)", body)
        directions = dict(part.split() for part in order[1].split(", ")) if order else {}
        self.descending = {column for column in self.clustering if directions.get(column) == "DESC"}
        self.partitions: dict[tuple[Any, ...], dict[tuple[Any, ...], Row]] = {}
        self.statics: dict[tuple[Any, ...], Row] = {}

    def sorted(self, rows: list[Row], *, backwards: bool) -> list[Row]:
        """In clustering order."""
        for column in reversed(self.clustering):
            rows.sort(key=operator.itemgetter(column), reverse=(column in self.descending) != backwards)
        return rows


class SimCassandra:
    """One node's data. Every call happens at one moment."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        for file in sorted(files("state.cassandra.migrations").iterdir(), key=lambda f: f.name):
            if file.name.endswith(".cql"):
                text = re.sub(r"--.*", "", file.read_text())
                for name, body in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+) \((.*?);", text, re.DOTALL):
                    self.tables[name] = Table(name, body)
        self._compiled: dict[Query, _Statement] = {}

    def run(self, query: Query, parameters: Sequence[Any]) -> list[Any]:
        """Rows as the driver gives them."""
        statement = self._statement(query)
        if statement.kind == "SELECT":
            return statement.select(list(parameters))
        return self.batch(query.kind, [(query, parameters)])

    def batch(self, kind: Kind, statements: Sequence[tuple[Query, Sequence[Any]]]) -> list[Any]:
        """All or nothing."""
        compiled = [(self._statement(query), list(parameters)) for query, parameters in statements]
        if kind is Kind.CONDITIONAL:
            checks = [s.check(p) for s, p in compiled if s.conditional]
            if any(not applied for applied, _ in checks):
                return [{"[applied]": False, **row} for _, row in checks if row]
        # At the one timestamp of a batch a delete wins over an insert.
        for statement, parameters in sorted(compiled, key=lambda found: found[0].kind == "DELETE"):
            statement.apply(parameters)
        return [{"[applied]": True}] if kind is Kind.CONDITIONAL else []

    def _statement(self, query: Query) -> _Statement:
        found = self._compiled.get(query)
        if found is None:
            found = self._compiled[query] = _Statement(query.cql, self.tables)
        return found


class _Statement:
    """One parsed statement. Parameters are taken in the order of their question marks."""

    def __init__(self, cql: str, tables: dict[str, Table]) -> None:
        self._next = 0
        self.kind = cql.split()[0]
        self.conditional = " IF " in cql
        table = re.search(r"KEYSPACE\.(\w+)", cql)
        assert table, cql
        self.table = tables[table[1]]
        self._set: list[tuple[str, Callable[[list[Any]], Any]]] = []
        self._where: dict[str, list[tuple[str, Callable[[list[Any]], Any]]]] = {}
        self._tuples: tuple[tuple[str, ...], list[list[Callable[[list[Any]], Any]]]] | None = None
        self._if: list[Test] = []
        self._limit: Callable[[list[Any]], Any] | None = None
        self._columns: list[str] = []
        self._backwards = False
        self._exists: bool | None = None
        self._deleted: str | None = None
        getattr(self, f"_parse_{self.kind.lower()}")(cql)
        assert self._next == cql.count("?"), cql
        self._one_row = all([sign for sign, _ in self._where.get(c, ())] == ["="] for c in self.table.clustering)

    def _value(self, text: str) -> Callable[[list[Any]], Any]:
        text = text.strip()
        if text == "?":
            n, self._next = self._next, self._next + 1
            return lambda parameters: parameters[n]
        constant = None if text == "null" else text[1:-1] if text.startswith("'") else int(text)
        return lambda _: constant

    def _parse_select(self, cql: str) -> None:
        parts = re.fullmatch(
            r"SELECT (.+?) FROM \S+(?: WHERE (.+?))?(?: ORDER BY (\w+) (\w+).*?)?(?: LIMIT (\?))?", cql
        )
        assert parts, cql
        self._columns = parts[1].split(", ")
        self._parse_where(parts[2])
        if parts[3]:
            self._backwards = (parts[4] == "DESC") != (parts[3] in self.table.descending)
        self._limit = self._value("?") if parts[5] else None

    def _parse_insert(self, cql: str) -> None:
        parts = re.fullmatch(r"INSERT INTO \S+ \((.+?)\) VALUES \((.+?)\)( IF NOT EXISTS)?( USING TTL \?)?", cql)
        assert parts, cql
        self._set = [(c, self._value(v)) for c, v in zip(parts[1].split(", "), parts[2].split(", "), strict=True)]
        self._exists = False if parts[3] else None
        self._next += bool(parts[4])
        self._where = {c: [("=", v)] for c, v in self._set if c in self.table.key}

    def _parse_update(self, cql: str) -> None:
        parts = re.fullmatch(r"UPDATE \S+ SET (.+?) WHERE (.+?)(?: IF (.+))?", cql)
        assert parts, cql
        pairs = [part.split(" = ") for part in parts[1].split(", ")]
        self._set = [(column, self._value(value)) for column, value in pairs]
        self._parse_where(parts[2])
        self._parse_if(parts[3])

    def _parse_delete(self, cql: str) -> None:
        parts = re.fullmatch(r"DELETE (?:(\w+) )?FROM \S+ WHERE (.+?)(?: IF (.+))?", cql)
        assert parts, cql
        self._deleted = parts[1]
        self._parse_where(parts[2])
        if parts[3] == "EXISTS":
            self._exists = True
        else:
            self._parse_if(parts[3])

    def _parse_if(self, text: str | None) -> None:
        for condition in re.split(r" AND (?![^(]*\))", text) if text else ():
            self._if.append(self._condition(condition))
            self._columns.append(condition.split()[0])

    def _parse_where(self, text: str | None) -> None:
        for condition in re.split(r" AND (?![^(]*\))", text) if text else ():
            if several := re.fullmatch(r"\((.+?)\) IN \((.+)\)", condition):
                rows = re.findall(r"\((.*?)\)", several[2])
                values = [[self._value(v) for v in row.split(", ")] for row in rows]
                self._tuples = (tuple(several[1].split(", ")), values)
                continue
            column, sign, value = condition.split(" ", 2)
            self._where.setdefault(column, []).append((sign, self._value(value)))

    def _condition(self, text: str) -> Test:
        column, sign, value = text.split(" ", 2)
        if sign == "IN":
            allowed = {v.strip("' ") for v in value.strip("()").split(",")}
            return lambda row, _: row.get(column) in allowed
        wanted = self._value(value)
        return lambda row, parameters: row.get(column) == wanted(parameters)

    # ---- running

    def _partition(self, parameters: list[Any]) -> tuple[Any, ...] | None:
        if not all(column in self._where for column in self.table.partition_key):
            return None
        return tuple(self._where[column][0][1](parameters) for column in self.table.partition_key)

    def _rows(self, parameters: list[Any]) -> list[Row]:
        table, partition = self.table, self._partition(parameters)
        if partition is not None and self._one_row:
            key = tuple(self._where[c][0][1](parameters) for c in table.clustering)
            row = table.partitions.get(partition, {}).get(key)
            return [] if row is None else [{**row, **table.statics.get(partition, {})}]
        wanted = table.partitions if partition is None else {partition: table.partitions.get(partition, {})}
        bounds = [
            (column, _COMPARE[sign], value(parameters))
            for column, tests in self._where.items()
            if column in table.clustering
            for sign, value in tests
        ]
        tuples = None
        if self._tuples:
            tuples = {tuple(v(parameters) for v in values) for values in self._tuples[1]}
        found = []
        for key, rows in wanted.items():
            static = table.statics.get(key, {})
            for row in rows.values():
                if all(holds(row[column], bound) for column, holds, bound in bounds) and (
                    tuples is None or tuple(row[c] for c in self._tuples[0]) in tuples  # type: ignore[index]
                ):
                    found.append({**row, **static})
        return found

    def select(self, parameters: list[Any]) -> list[tuple[Any, ...]]:
        rows = self.table.sorted(self._rows(parameters), backwards=self._backwards)
        if self._limit:
            rows = rows[: self._limit(parameters)]
        return [tuple(row.get(column) for column in self._columns) for row in rows]

    def check(self, parameters: list[Any]) -> tuple[bool, Row]:
        """Whether the condition holds, and the row that is there."""
        partition = self._partition(parameters)
        assert partition is not None
        static = self.table.statics.get(partition, {})
        names = dict(zip(self.table.partition_key, partition, strict=True))
        if self.table.static & set(self._columns):
            there: Row = {**names, **static}
        else:
            rows = self._rows(parameters)
            there = rows[0] if rows else {}
        if self._exists is not None:
            return bool(there) == self._exists, there
        key = {c: there[c] for c in self.table.key if c in there}
        return all(test(there, parameters) for test in self._if), {**key, **{c: there.get(c) for c in self._columns}}

    def apply(self, parameters: list[Any]) -> None:
        table, partition = self.table, self._partition(parameters)
        assert partition is not None
        if self.kind == "DELETE":
            rows = table.partitions.get(partition, {})
            for row in self._rows(parameters):
                if self._deleted:
                    rows[tuple(row[c] for c in table.clustering)].pop(self._deleted, None)
                    continue
                del rows[tuple(row[c] for c in table.clustering)]
            return
        values = {column: value(parameters) for column, value in self._set}
        static = {c: v for c, v in values.items() if c in table.static}
        if static:
            table.statics.setdefault(partition, {}).update(static)
            values = {c: v for c, v in values.items() if c not in table.static}
        place = {c: tests[0][1](parameters) for c, tests in self._where.items()}
        if values and all(c in place for c in table.clustering):
            key = tuple(place[c] for c in table.clustering)
            row = table.partitions.setdefault(partition, {}).setdefault(
                key, dict(zip(table.partition_key, partition, strict=True))
            )
            row.update(place)
            row.update(values)


class SimSession:
    """`state.cassandra.session.Session` of one node: requests and answers on the network, errors as `explain` names them."""

    def __init__(self, loop: VirtualLoop, network: Network, cassandra: SimCassandra, node: Node | None) -> None:
        self._loop, self._network, self._cassandra, self._node = loop, network, cassandra, node

    async def execute(self, query: Query, *parameters: Any) -> list[Any]:
        return await self._ask(query.kind, lambda: self._cassandra.run(query, parameters))

    async def start(self, query: Query, *parameters: Any) -> asyncio.Future[list[Any]]:
        return asyncio.ensure_future(self.execute(query, *parameters))

    async def execute_batch(self, kind: Kind, statements: Sequence[tuple[Query, Sequence[Any]]]) -> list[Any]:
        said = [(query, tuple(parameters)) for query, parameters in statements]
        return await self._ask(kind, lambda: self._cassandra.batch(kind, said))

    async def pages(self, query: Query, *parameters: Any, size: int = 500) -> AsyncIterator[list[Any]]:
        yield await self.execute(query, *parameters)

    async def _ask(self, kind: Kind, carry_out: Callable[[], list[Any]]) -> list[Any]:
        try:
            return await self._network.ask(carry_out, node=self._node, server="cassandra", timeout=_TIMEOUT)
        except LostAnswer:
            words = "Cassandra did not answer"
            raise OutcomeUnknown(words) if kind.writes else Unavailable(words) from None
