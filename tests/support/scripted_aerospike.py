"""A client of an Aerospike cluster that is played in this process: it takes the batch records that the real one takes,
and answers with its codes. What a node answers was written down from servers of version 8.1.2.

A key's first byte says which node keeps it, by its place in `nodes`.
"""

from typing import Any

import aerospike
from aerospike import exception
from aerospike_helpers.batch import records as batch

NAMESPACE = "coins"
TIMEOUT, NO_RESPONSE, BATCH_FAILED, TOO_LARGE = 9, -15, -16, 151
Answer = tuple[int, dict[str, Any] | None]


class Node:
    """refuses: the code that it answers writes and calls with; 0: none. forbids: how a question begins that nobody may
    ask it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.namespaces = NAMESPACE
        self.limit = 0
        self.is_silent = False
        self.forbids = ""
        self.refuses = 0
        self.objects = 0
        self.alternate = ""
        self.modules: list[str] = []
        self.asked: list[str] = []

    def answer(self, question: str, size: int) -> str:
        name = question.partition(":")[0]
        return {
            "namespaces": self.namespaces,
            "statistics": f"cluster_size={size};uptime=1",
            "get-config": f"batch-index-threads=2;batch-max-requests={self.limit}",
            "udf-list": "".join(f"filename={module},hash=0,type=LUA;" for module in self.modules),
            f"sets/{NAMESPACE}/utxo": f"objects={self.objects}:tombstones=0;" if self.objects else "",
            "service-clear-alt": self.alternate,
        }.get(name, "")


class ScriptedCluster:
    """sent: how many records each call had. log: what nodes were given to write, kind and key. failing_rule: what they
    say of a rule that raised an error. out_of_reach: names of nodes that only the others can reach. puts: modules that
    were registered. indexes: bins that have an index. before_counting: called before a node says how many records a
    set has."""

    def __init__(self, *names: str) -> None:
        self.nodes = [Node(name) for name in names]
        self.data: dict[tuple[str, bytes], dict[str, Any]] = {}
        self.sent: list[int] = []
        self.log: list[tuple[str, bytes]] = []
        self.failing_rule = ""
        self.out_of_reach: list[str] = []
        self.puts = 0
        self.indexes: list[str] = []
        self.before_counting: Any = None

    def client(self, config: dict[str, Any]) -> "ScriptedCluster":
        if self.out_of_reach and config.get("fail_if_not_connected", True):
            raise exception.ClientError(f"Peers not reachable: {self.out_of_reach}")
        return self

    def is_connected(self) -> bool:
        return True

    def close(self) -> None: ...

    def get_node_names(self) -> list[dict[str, Any]]:
        return [{"node_name": node.name} for node in self.nodes if node.name not in self.out_of_reach]

    def index_single_value_create(self, namespace: str, set_name: str, name: str, *arguments: Any) -> None:
        """As the client does: makes it, and looks for it on every node."""
        self.indexes.append(name)
        if any(node.namespaces != NAMESPACE for node in self.nodes):
            error = exception.NamespaceNotFound()
            error.code = 20
            raise error

    def info_single_node(self, question: str, name: str, policy: dict[str, Any]) -> str:
        node = next(node for node in self.nodes if node.name == name)
        node.asked.append(question.partition(":")[0])
        if node.is_silent:
            error = exception.TimeoutError()
            error.code = TIMEOUT
            raise error
        if node.forbids and question.startswith(node.forbids):
            forbidden = exception.RoleViolation()
            forbidden.code = 81
            raise forbidden
        if question.startswith("udf-put"):
            self.puts += 1
            for registered in self.nodes:
                registered.modules.append(question.partition("filename=")[2].partition(";")[0])
        if question.startswith("sets/") and self.before_counting is not None:
            self.before_counting()
        if question.startswith("sindex-list"):
            return f"{question}\t{';'.join(f'ns={NAMESPACE}:set=utxo:bin={name}' for name in self.indexes)}\n"
        return f"{question}\t{node.answer(question, len(self.nodes))}\n"

    def remove_rules(self) -> None:
        for node in self.nodes:
            node.modules.clear()

    def batch_read(self, keys: list[Any], bins: list[str] | None, policy: dict[str, Any]) -> Any:
        return self._batch([batch.Read(key, None, read_all_bins=True) for key in keys])

    def batch_write(self, request: Any, policy: dict[str, Any]) -> Any:
        return self._batch(request.batch_records, request)

    def _batch(self, batch_records: list[Any], request: Any = None) -> Any:
        request = request or batch.BatchRecords(batch_records)
        self.sent.append(len(batch_records))
        request.result = 0
        for node in self.nodes:
            mine = [batch_record for batch_record in batch_records if self._node(batch_record) is node]
            if node.limit and len(mine) > node.limit:
                request.result = TOO_LARGE
                for batch_record in mine:
                    batch_record.result = NO_RESPONSE
                continue
            for batch_record in mine:
                batch_record.result, bins = self._execute(node, batch_record)
                batch_record.record = ((*batch_record.key, bytearray(20)), {"ttl": 0, "gen": 1}, bins)
        if request.result == 0 and any(batch_record.result != 0 for batch_record in batch_records):
            request.result = BATCH_FAILED
        return request

    def _node(self, batch_record: Any) -> Node:
        first: int = batch_record.key[2][0]
        return self.nodes[first % len(self.nodes)]

    def _execute(self, node: Node, batch_record: Any) -> Answer:
        place = (batch_record.key[1], bytes(batch_record.key[2]))
        kept = self.data.get(place)
        if isinstance(batch_record, batch.Read):
            return (2, None) if kept is None else (0, dict(kept))
        self.log.append((type(batch_record).__name__, place[1]))
        if node.refuses:
            return node.refuses, None
        if isinstance(batch_record, batch.Apply):
            return self._apply(node, batch_record)
        return self._write(place, kept, batch_record)

    def _apply(self, node: Node, batch_record: Any) -> Answer:
        if f"{batch_record.module}.lua" not in node.modules:
            batch_record.message = f"{node.name} UDF: Execution Error 1"
            return 100, None
        if self.failing_rule:
            batch_record.message = self.failing_rule
            return 100, None
        return 0, {"SUCCESS": {"status": "OK"}}

    def _write(self, place: tuple[str, bytes], kept: dict[str, Any] | None, batch_record: Any) -> Answer:
        exists = batch_record.policy["exists"]
        if exists == aerospike.POLICY_EXISTS_CREATE and kept is not None:
            return 5, None
        if exists == aerospike.POLICY_EXISTS_UPDATE and kept is None:
            return 2, None
        if "expressions" in batch_record.policy and kept is not None and kept.get("layout") != 1:
            return 27, None  # the one condition that is asked here
        self.data[place] = (kept or {}) | {op["bin"]: op["val"] for op in batch_record.ops if "bin" in op}
        return 0, None
