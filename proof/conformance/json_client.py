"""etcd3-py over JSON: keys, transactions, leases, watches, locks and members. Judges itself; see .ci/json-client."""

import sys
import threading

import etcd3

PATIENCE = 20

client = etcd3.Client(sys.argv[1], int(sys.argv[2]))
assert client.cluster_version.startswith("3.6"), client.cluster_version
checks = 0


def check(what, is_so):
    global checks
    assert is_so, what
    checks += 1


client.put("foo", "bar")
check("a value", client.range("foo").kvs[0].value == b"bar")
check("a prefix", client.range("fo", prefix=True).count == 1)
txn = client.Txn()
txn.compare(txn.key("foo").value == b"bar")
txn.success(txn.put("foo", "baz"))
check("a transaction", txn.commit().succeeded)
check("its put", client.range("foo").kvs[0].value == b"baz")

lease = client.Lease(ttl=60)
lease.grant()
client.put("leased", "x", lease=lease.ID)
check("a lease's time", 0 < lease.time_to_live().TTL <= 60)
check("a renewal", lease.keepalive_once().TTL == 60)
lease.revoke()
check("its key is gone", client.range("leased").kvs is None)

seen = []
told = threading.Event()


def on_event(event):
    seen.append((event.type.value, event.value))
    told.set()


watcher = client.Watcher(key="foo", start_revision=client.range("foo").header.revision + 1)
watcher.onEvent(on_event)
watcher.runDaemon()
client.put("foo", "qux")
check("a watch tells", told.wait(PATIENCE))
check("what it tells", seen[0] == ("PUT", b"qux"))
watcher.stop()

with client.Lock("lk"):
    check("a lock", True)
check("the members", client.member_list().members[0].name == "n1")
check("a delete", client.delete_range("foo").deleted == 1)
try:
    client.range("")
    refused = False
except (etcd3.errors.Etcd3Exception, TypeError):
    # The client wants the field `error` to name its exception, which etcd 3.6 no longer says.
    refused = True
check("a refusal", refused)
print(f"etcd3-py: {checks} checks passed")
