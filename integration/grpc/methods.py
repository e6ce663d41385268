"""Calls each method of each service of a node's gRPC door, with code that protoc has made.

    methods.py GRPC_ADDRESS BACKUP_FOLDER
"""

import sys

import grpc
from perigee.v1 import admin_pb2, admin_pb2_grpc, key_value_pb2, key_value_pb2_grpc, sql_pb2, sql_pb2_grpc, time_series_pb2, time_series_pb2_grpc

address, backup = sys.argv[1:3]
channel = grpc.insecure_channel(address)
sql, keys, series, admin = (
    sql_pb2_grpc.SqlStub(channel),
    key_value_pb2_grpc.KeyValueStub(channel),
    time_series_pb2_grpc.TimeSeriesStub(channel),
    admin_pb2_grpc.AdminStub(channel),
)
called = set()


def call(stub, method, request, **options):
    service = type(stub).__name__.removesuffix("Stub")
    called.add((service, method))
    answer = getattr(stub, method)(request, timeout=60, **options)
    # A stream runs to its end.
    return list(answer) if hasattr(answer, "__next__") else answer


def refused(stub, method, request):
    try:
        call(stub, method, request)
    except grpc.RpcError as error:
        metadata = dict(error.trailing_metadata())
        return error.code(), metadata.get("perigee-sqlstate")
    raise AssertionError(f"{method} was done: {request}")


def statement(text, *parameters, transaction=""):
    return sql_pb2.Statement(sql=text, parameters=parameters, transaction=transaction)


def rows(text, *parameters, transaction=""):
    parts = call(sql, "Query", sql_pb2.QueryRequest(statement=statement(text, *parameters, transaction=transaction)))
    assert parts[-1].WhichOneof("part") == "summary", parts
    return [tuple(getattr(v, v.WhichOneof("kind")) if v.WhichOneof("kind") else None for v in row.values) for part in parts for row in part.rows.rows]


# Statements.
made = call(sql, "Execute", sql_pb2.ExecuteRequest(statement=statement("CREATE TABLE m (a int PRIMARY KEY, b text)")))
assert made.summary.command == "CREATE TABLE", made
value = sql_pb2.Value
inserted = call(sql, "Execute", sql_pb2.ExecuteRequest(statement=statement("INSERT INTO m VALUES ($1, $2)", value(integer=1), value(text="x"))))
assert inserted.summary.rows == 1, inserted
assert rows("SELECT a, b, NULL FROM m") == [(1, "x", None)]
described = call(sql, "Describe", sql_pb2.DescribeRequest(statement=statement("SELECT a FROM m WHERE b = $1")))
assert list(described.parameter_types) == ["text"] and described.columns[0].type == "integer", described
assert refused(sql, "Execute", sql_pb2.ExecuteRequest(statement=statement("SELECT * FROM nothing"))) == (grpc.StatusCode.NOT_FOUND, "42P01")
for ends in ("Commit", "Rollback"):
    begun = call(sql, "Begin", sql_pb2.BeginRequest()).transaction
    rows("INSERT INTO m VALUES ($1, 'y') RETURNING a", value(integer=2), transaction=begun)
    call(sql, ends, getattr(sql_pb2, f"{ends}Request")(transaction=begun))
    assert refused(sql, ends, getattr(sql_pb2, f"{ends}Request")(transaction=begun))[0] == grpc.StatusCode.NOT_FOUND
    found = rows("DELETE FROM m WHERE a = 2 RETURNING b")
    assert found == ([("y",)] if ends == "Commit" else []), (ends, found)

# Keys.
assert call(keys, "Set", key_value_pb2.SetRequest(key="m:1", hash=key_value_pb2.Hash(fields={"a": "1"}))).set
assert dict(call(keys, "Get", key_value_pb2.GetRequest(key="m:1")).entry.hash.fields) == {"a": "1"}
assert [key.key for part in call(keys, "Scan", key_value_pb2.ScanRequest(match="m:*")) for key in part.keys] == ["m:1"]
assert call(keys, "Delete", key_value_pb2.DeleteRequest(keys=["m:1", "m:2"])).deleted == 1
assert refused(keys, "Get", key_value_pb2.GetRequest(key="m:1"))[0] == grpc.StatusCode.NOT_FOUND

# Series.
message = time_series_pb2.AddRequest
sample = time_series_pb2.SeriesSample
assert call(series, "Add", iter([message(samples=[sample(key="s", ts_ms=n, value=n) for n in range(10)])] * 2)).added == 20
found = call(series, "Range", time_series_pb2.RangeRequest(key="s", limit=3))
assert [s.ts_ms for part in found for s in part.samples] == [0, 1, 2], found
assert call(series, "QuerySeries", time_series_pb2.QuerySeriesRequest(labels={"none": "there"})) == []

# Operators.
assert call(admin, "Status", admin_pb2.StatusRequest()).role == "leader"
assert not call(admin, "Verify", admin_pb2.VerifyRequest()).faults
assert call(admin, "Cluster", admin_pb2.ClusterRequest()).leader
assert len(call(admin, "PingCluster", admin_pb2.PingClusterRequest()).members) == 1
assert call(admin, "VerifyCluster", admin_pb2.VerifyClusterRequest()).majority
assert refused(admin, "ChangeCluster", admin_pb2.ChangeClusterRequest(remove="nobody"))[0] is not grpc.StatusCode.UNIMPLEMENTED
assert call(admin, "Backup", admin_pb2.BackupRequest(url=f"file://{backup}")).index > 0

wanted = {
    (service.name, method.name)
    for file in (admin_pb2, key_value_pb2, sql_pb2, time_series_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
assert called == wanted, wanted ^ called
print(f"{len(called)} methods")
