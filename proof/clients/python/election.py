"""The server's Election service for a client that does not carry it along: its messages, made at run time."""

from etcd3.etcdrpc import kv_pb2, rpc_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_BYTES, _INT64 = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES, descriptor_pb2.FieldDescriptorProto.TYPE_INT64
_LEADER, _HEADER, _KV = ".v3electionpb.LeaderKey", ".etcdserverpb.ResponseHeader", ".mvccpb.KeyValue"

# Fields in the order of their numbers, from 1.
_MESSAGES = {
    "LeaderKey": [("name", _BYTES), ("key", _BYTES), ("rev", _INT64), ("lease", _INT64)],
    "CampaignRequest": [("name", _BYTES), ("lease", _INT64), ("value", _BYTES)],
    "CampaignResponse": [("header", _HEADER), ("leader", _LEADER)],
    "ProclaimRequest": [("leader", _LEADER), ("value", _BYTES)],
    "ProclaimResponse": [("header", _HEADER)],
    "LeaderRequest": [("name", _BYTES)],
    "ObserveRequest": [("name", _BYTES)],
    "LeaderResponse": [("header", _HEADER), ("kv", _KV)],
    "ResignRequest": [("leader", _LEADER)],
    "ResignResponse": [("header", _HEADER)],
}


def _make():
    file = descriptor_pb2.FileDescriptorProto(name="v3election.proto", package="v3electionpb", syntax="proto3")
    file.dependency.extend([kv_pb2.DESCRIPTOR.name, rpc_pb2.DESCRIPTOR.name])
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, 1):
            added = message.field.add(name=field, number=number, label=1)
            if isinstance(kind, str):
                added.type, added.type_name = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE, kind
            else:
                added.type = kind
    pool = descriptor_pool.Default()
    pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return {name: factory.GetPrototype(pool.FindMessageTypeByName(f"v3electionpb.{name}")) for name in _MESSAGES}


_MADE = _make()


class Elections:
    """Calls of the service on a client's channel."""

    def __init__(self, client):
        self._client = client

    def _call(self, make, method, answer, **fields):
        request, reply = _MADE[method + "Request"], _MADE[answer]
        call = make(f"/v3electionpb.Election/{method}", request.SerializeToString, reply.FromString)
        return call(request(**fields), timeout=60, credentials=self._client.call_credentials, metadata=self._client.metadata)

    def _ask(self, method, **fields):
        return self._call(self._client.channel.unary_unary, method, method + "Response", **fields)

    def campaign(self, name, lease, value):
        """Waits until it leads; the leader's key."""
        return self._ask("Campaign", name=name, lease=lease.id, value=value).leader

    def proclaim(self, leader, value):
        self._ask("Proclaim", leader=leader, value=value)

    def resign(self, leader):
        self._ask("Resign", leader=leader)

    def leader(self, name):
        """What the leader says; refused when there is none."""
        return self._ask("Leader", name=name).kv.value

    def observe(self, name):
        """What each leader says, from now on."""
        answers = self._call(self._client.channel.unary_stream, "Observe", "LeaderResponse", name=name)
        return (answer.kv.value for answer in answers)
