"""The program of `etcd3`, Python's best known client: gRPC, one member at a time.

It has no elections of its own: `election.py` asks the server's. Users and roles are managed by the services that it
carries along.
"""

import hashlib
import io
import queue
import threading
import time

import etcd3
import grpc
from etcd3 import etcdrpc
from etcd3.etcdrpc import auth_pb2

from check import check, control, endpoints, eventually, files, main, refused, same, take
from election import Elections


def client(member=0, **options):
    host, port = endpoints()[member]
    if files():
        ca, cert, key = files()
        options.update(ca_cert=ca, cert_cert=cert, cert_key=key)
    own = etcd3.client(host=host, port=port, timeout=20, **options)
    if own.call_credentials and not own.uses_secure_channel:
        # It sends its token twice, and gRPC sends none of the second kind without TLS.
        own.call_credentials = own.watcher._credentials = None
    return own


def told(events):
    words = []
    for event in events:
        if isinstance(event, etcd3.events.DeleteEvent):
            words.append(f"delete {event.key.decode()}")
        else:
            words.append(f"put {event.key.decode()}={event.value.decode()}")
    return ", ".join(words)


def revision(answer):
    return answer.header.revision


c = client()


@check("kv: what was put is read back, with its revisions")
def _():
    first = revision(c.put("kv/a", "one"))
    second = revision(c.put("kv/a", "two"))
    same("one put, one revision", second, first + 1)
    value, meta = c.get("kv/a")
    same("value", value, b"two")
    same("revisions", (meta.create_revision, meta.mod_revision, meta.version), (first, second, 2))
    same("nothing", c.get("kv/none"), (None, None))
    same("serializable", c.get("kv/a", serializable=True)[0], b"two")


@check("kv: prefixes, ranges, orders, keys only")
def _():
    for key, value in (("a", "3"), ("b", "1"), ("c", "2")):
        c.put(f"kv/r/{key}", value)
    keys = lambda found: [meta.key.decode() for _, meta in found]
    same("prefix", keys(c.get_prefix("kv/r/")), ["kv/r/a", "kv/r/b", "kv/r/c"])
    same("range", keys(c.get_range("kv/r/a", "kv/r/c")), ["kv/r/a", "kv/r/b"])
    same("by value", keys(c.get_prefix("kv/r/", sort_order="ascend", sort_target="value")), ["kv/r/b", "kv/r/c", "kv/r/a"])
    same("down", keys(c.get_prefix("kv/r/", sort_order="descend", sort_target="key")), ["kv/r/c", "kv/r/b", "kv/r/a"])
    same("keys only", [value for value, _ in c.get_prefix("kv/r/", keys_only=True)], [b"", b"", b""])
    same("all", "kv/r/a" in keys(c.get_all()), True)


@check("kv: deletes tell what was there")
def _():
    c.put("kv/d/a", "1")
    c.put("kv/d/b", "2")
    gone = c.delete("kv/d/a", prev_kv=True, return_response=True)
    same("before", (gone.deleted, gone.prev_kvs[0].value), (1, b"1"))
    same("again", c.delete("kv/d/a"), False)
    same("the rest", c.delete_prefix("kv/d/").deleted, 1)
    same("a put tells, too", c.put("kv/a", "three", prev_kv=True).prev_kv.value, b"two")


@check("kv: put if it is not there, replace if it is as it was")
def _():
    same("new", c.put_if_not_exists("kv/new", "1"), True)
    same("old", c.put_if_not_exists("kv/new", "2"), False)
    same("as it was", c.replace("kv/new", "1", "2"), True)
    same("not as it was", c.replace("kv/new", "1", "3"), False)


@check("kv: compaction")
def _():
    c.put("kv/c", "1")
    now = revision(c.put("kv/c", "2"))
    c.compact(now)
    same("the present", c.get("kv/c")[0], b"2")
    error = refused("again", lambda: c.compact(now, physical=True), grpc.RpcError)
    same("words", error.details(), "etcdserver: mvcc: required revision has been compacted")


@check("txn: then or else, nested, over ranges")
def _():
    c.put("txn/a", "1")
    t = c.transactions
    yes, answers = c.transaction(
        compare=[t.value("txn/a") == "1", t.version("txn/a") > 0, t.create("txn/none") == 0, t.mod("txn/a") != 1],
        success=[t.put("txn/a", "2"), t.get("txn/a")],
        failure=[t.delete("txn/a")],
    )
    same("then", (yes, answers[1][0][0]), (True, b"2"))
    no, answers = c.transaction(
        compare=[t.value("txn/a", range_end="txn/b") < "2"],
        success=[t.delete("txn/a")],
        failure=[t.txn(compare=[t.version("txn/a") == 2], success=[t.put("txn/n", "then")], failure=[t.put("txn/n", "else")])],
    )
    same("else", (no, answers[0].response_txn.succeeded), (False, True))
    same("nested", c.get("txn/n")[0], b"then")
    error = refused("two puts of a key", lambda: c.transaction([], [t.put("txn/d", "1"), t.put("txn/d", "2")], []), grpc.RpcError)
    same("words", error.details(), "etcdserver: duplicate key given in txn request")


@check("watch: history with what was there before, and then the present")
def _():
    first = revision(c.put("watch/h/a", "1"))
    c.put("watch/h/a", "2")
    c.delete("watch/h/a")
    events, cancel = c.watch_prefix("watch/h/", start_revision=first, prev_kv=True)
    history = take(events, 3)
    same("history", told(history), "put watch/h/a=1, put watch/h/a=2, delete watch/h/a")
    same("before", [event.prev_value for event in history], [b"", b"1", b"2"])
    c.put("watch/h/b", "3")
    same("now", told(take(events, 1)), "put watch/h/b=3")
    cancel()


@check("watch: callbacks, once, cancel")
def _():
    seen = []
    one = c.add_watch_callback("watch/cb", lambda answer: seen.extend(answer.events))
    c.put("watch/cb", "1")
    eventually("the callback", lambda: len(seen) == 1)
    c.cancel_watch(one)
    before = revision(c.put("watch/once", "1"))
    event = c.watch_once("watch/once", timeout=20, start_revision=before)
    same("once", told([event]), "put watch/once=1")
    c.put("watch/cb", "2")
    same("after its cancel", len(seen), 1)
    refused("a watch of nothing", lambda: c.watch_once("watch/silent", timeout=0.2), etcd3.exceptions.WatchTimedOut)


@check("watch: below the compacted revision it ends and says from where on")
def _():
    old = revision(c.put("watch/c", "1"))
    now = revision(c.put("watch/c", "2"))
    c.compact(now)
    events, _ = c.watch("watch/c", start_revision=old)
    error = refused("the past", lambda: take(events, 1), etcd3.exceptions.RevisionCompactedError)
    same("from where on", error.compacted_revision, now)


@check("watch: asked for its progress, it tells how far it is")
def _():
    watch = etcdrpc.WatchStub(c.channel)
    create = etcdrpc.WatchRequest(create_request=etcdrpc.WatchCreateRequest(key=b"watch/p", progress_notify=True))
    more = threading.Event()

    def requests():
        yield create
        more.wait(30)

    answers = watch.Watch(requests(), timeout=30)
    first = next(answers)
    same("created", (first.created, first.header.revision > 0), (True, True))
    c.put("watch/p", "1")
    same("its event", next(answers).events[0].kv.value, b"1")
    more.set()


@check("lease: grant, look, refresh, revoke")
def _():
    lease = c.lease(600)
    c.put("lease/a", "1", lease=lease)
    same("granted", (lease.ttl, lease.granted_ttl), (600, 600))
    same("keys", list(lease.keys), [b"lease/a"])
    same("remaining", lease.remaining_ttl > 500, True)
    same("refreshed", lease.refresh()[0].TTL, 600)
    lease.revoke()
    same("its key", c.get("lease/a"), (None, None))
    same("over", lease.remaining_ttl, -1)
    same("with an id of ours", c.lease(60, lease_id=4711).id, 4711)
    refused("an id that is taken", lambda: c.lease(60, lease_id=4711), etcd3.exceptions.PreconditionFailedError)


@check("lease: it expires with its keys, unless it is refreshed")
def _():
    lease = c.lease(2)
    c.put("lease/short", "1", lease=lease)
    until = time.monotonic() + 4
    while time.monotonic() < until:
        lease.refresh()
        time.sleep(0.5)
    same("kept", c.get("lease/short")[0], b"1")
    eventually("expired", lambda: c.get("lease/short")[0] is None)


@check("lock: one holds it, the others wait for their turn")
def _():
    inside = []
    most = []

    def work(member):
        own = client(member)
        for _ in range(3):
            with own.lock("crowd", ttl=30) as lock:
                assert lock.is_acquired()
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    failures = []

    def watched(member):
        try:
            work(member)
        except Exception as error:
            failures.append(error)

    crowd = [threading.Thread(target=watched, args=(member,)) for member in range(3)]
    [one.start() for one in crowd]
    [one.join(60) for one in crowd]
    same("failures", failures, [])
    same("turns", most, [1] * 9)


@check("lock: a holder who is gone loses it when its time is over")
def _():
    held = c.lock("gone", ttl=2)
    same("held", held.acquire(), True)
    same("tried", c.lock("gone", ttl=2).acquire(timeout=0), False)
    held.refresh()
    same("after its time", c.lock("gone", ttl=2).acquire(timeout=20), True)
    same("is the first one's", held.is_acquired(), False)
    same("released by the first", held.release(), False)


@check("election: one leads, proclaims and resigns, the next leads; observers see it")
def _():
    first, second, other = (Elections(client(member)) for member in range(3))
    leader = first.campaign(b"race", c.lease(60), b"one")
    seen = other.observe(b"race")
    same("observed", take(seen, 1), [b"one"])
    lease = c.lease(60)
    won = queue.Queue()
    threading.Thread(target=lambda: won.put(second.campaign(b"race", lease, b"two")), daemon=True).start()
    eventually("two in line", lambda: len(list(c.get_prefix("race/"))) == 2)
    first.proclaim(leader, b"one still")
    same("observed", take(seen, 1), [b"one still"])
    same("leader", other.leader(b"race"), b"one still")
    first.resign(leader)
    same("whose lease", won.get(timeout=30).lease, lease.id)
    same("observed", take(seen, 1), [b"two"])
    lease.revoke()
    nobody = refused("a leader without a lease", lambda: other.leader(b"race"), grpc.RpcError)
    same("nobody", nobody.details(), "election: no leader")


@check("cluster: members are listed, added, moved and removed")
def _():
    same("members", len(list(c.members)), 3)
    added = etcdrpc.ClusterStub(c.channel).MemberList(etcdrpc.MemberListRequest())
    same("names", sorted(member.name for member in added.members), ["n1", "n2", "n3"])
    urls = sorted(url for member in c.members for url in member.client_urls)
    same("urls", [url.split(":")[-1] for url in urls], sorted(str(port) for _, port in endpoints()))

    def taken():
        try:
            return c.add_member(["http://127.0.0.1:1"])
        except (etcd3.exceptions.Etcd3Exception, grpc.RpcError):
            return None

    # A cluster takes a member once all voters have seen each other for five seconds.
    new = eventually("the cluster takes a member", taken)
    new.update(["http://127.0.0.1:2"])
    new.remove()
    same("members", len(list(c.members)), 3)


@check("maintenance: status, alarms, defragment, hash, snapshot")
def _():
    status = c.status()
    same("status", (status.version.startswith("3."), status.leader is not None, status.raft_term > 0, status.db_size > 0), (True,) * 4)
    same("alarms", list(c.list_alarms()), [])
    c.create_alarm(list(c.members)[0].id)
    same("raised", len(list(c.list_alarms())), 1)
    refused("a put without space", lambda: c.put("maintenance/full", "1"), grpc.RpcError)
    c.disarm_alarm(list(c.members)[0].id)
    same("disarmed", list(c.list_alarms()), [])
    c.put("maintenance/a", "1")
    c.defragment()
    same("a hash", c.hash() >= 0, True)
    file = io.BytesIO()
    c.snapshot(file)
    body, tail = file.getvalue()[:-32], file.getvalue()[-32:]
    same("its sum", hashlib.sha256(body).digest(), tail)


@check("reconnect: the member comes back, and so do calls and watches")
def _():
    own = client(1)
    own.put("reconnect/a", "1")
    seen = []
    own.add_watch_callback("reconnect/a", seen.append)
    control("kill 2")
    eventually("the watch hears of it", lambda: any(isinstance(one, Exception) for one in seen))
    refused("a call", lambda: own.get("reconnect/a"), etcd3.exceptions.ConnectionFailedError, etcd3.exceptions.ConnectionTimeoutError)

    def put():
        # Without a leader for a moment, if that was the one.
        try:
            return c.put("reconnect/a", "2")
        except (etcd3.exceptions.Etcd3Exception, grpc.RpcError):
            return None

    eventually("a put elsewhere", put)
    control("start 2")

    def back():
        try:
            return own.get("reconnect/a")[0] == b"2"
        except etcd3.exceptions.Etcd3Exception:
            return False

    eventually("a call", back)
    events, cancel = own.watch("reconnect/a", start_revision=own.get("reconnect/a")[1].mod_revision)
    same("a new watch", told(take(events, 1)), "put reconnect/a=2")
    cancel()


# Users and roles, by the services that etcd3 carries along.


def auth(own):
    return etcdrpc.AuthStub(own.channel)


def call(own, method, request):
    """A call with the token that the client has."""
    return getattr(auth(own), method)(request, 20, credentials=None, metadata=own.metadata)


@check("auth: users and roles")
def _():
    same("not yet", refused("a token", lambda: client(user="root", password="secret"), grpc.RpcError).details(), "etcdserver: authentication is not enabled")
    call(c, "UserAdd", etcdrpc.AuthUserAddRequest(name="root", password="secret"))
    call(c, "RoleAdd", etcdrpc.AuthRoleAddRequest(name="root"))
    call(c, "UserGrantRole", etcdrpc.AuthUserGrantRoleRequest(user="root", role="root"))
    call(c, "UserAdd", etcdrpc.AuthUserAddRequest(name="alice", password="wonder"))
    call(c, "RoleAdd", etcdrpc.AuthRoleAddRequest(name="reader"))
    read = auth_pb2.Permission(permType=auth_pb2.Permission.READ, key=b"auth/read/", range_end=b"auth/read0")
    call(c, "RoleGrantPermission", etcdrpc.AuthRoleGrantPermissionRequest(name="reader", perm=read))
    # Its locks are keys under /locks/.
    locks = auth_pb2.Permission(permType=auth_pb2.Permission.READWRITE, key=b"/locks/", range_end=b"/locks0")
    call(c, "RoleGrantPermission", etcdrpc.AuthRoleGrantPermissionRequest(name="reader", perm=locks))
    call(c, "UserGrantRole", etcdrpc.AuthUserGrantRoleRequest(user="alice", role="reader"))
    same("users", list(call(c, "UserList", etcdrpc.AuthUserListRequest()).users), ["alice", "root"])
    same("roles", list(call(c, "UserGet", etcdrpc.AuthUserGetRequest(name="alice")).roles), ["reader"])
    same("permissions", len(call(c, "RoleGet", etcdrpc.AuthRoleGetRequest(role="reader")).perm), 2)
    c.put("auth/read/a", "1")
    call(c, "AuthEnable", etcdrpc.AuthEnableRequest())


@check("auth: who says no name, or a wrong word, is turned away")
def _():
    error = refused("nobody", lambda: c.get("auth/read/a"), grpc.RpcError)
    # A certificate says who asks, though ours has no name in it.
    same("words", error.details(), "etcdserver: permission denied" if files() else "etcdserver: user name is empty")
    error = refused("a wrong word", lambda: client(user="alice", password="x"), grpc.RpcError)
    same("words", error.details(), "etcdserver: authentication failed, invalid user ID or password")


@check("auth: a user may do what its role grants, and nothing else, in watches and locks too")
def _():
    alice = client(user="alice", password="wonder")
    same("read", alice.get("auth/read/a")[0], b"1")
    denied = lambda what, ask: same(what, refused(what, ask, grpc.RpcError).details(), "etcdserver: permission denied")
    denied("a put", lambda: alice.put("auth/read/a", "2"))
    denied("another key", lambda: alice.get("auth/other"))
    denied("all", lambda: list(alice.get_all()))
    denied("a deletion", lambda: alice.delete_prefix("auth/"))
    denied("a transaction", lambda: alice.transaction([], [alice.transactions.put("auth/x", "1")], []))
    root = client(user="root", password="secret")
    events, cancel = alice.watch_prefix("auth/read/")
    root.put("auth/read/b", "1")
    same("event", told(take(events, 1)), "put auth/read/b=1")
    cancel()
    with alice.lock("auth", ttl=10) as lock:
        same("a lock", lock.is_acquired(), True)


@check("auth: a user who is gone, a word that is new, and the door open again")
def _():
    root, alice = client(user="root", password="secret"), client(user="alice", password="wonder")
    call(root, "UserChangePassword", etcdrpc.AuthUserChangePasswordRequest(name="alice", password="new"))
    refused("the old word", lambda: client(user="alice", password="wonder"), grpc.RpcError)
    client(user="alice", password="new")
    error = refused("a token from before", lambda: alice.get("auth/read/a"), grpc.RpcError)
    assert error.details() in ("etcdserver: invalid auth token", "etcdserver: revision of auth store is old"), error.details()
    root = client(user="root", password="secret")
    call(root, "UserDelete", etcdrpc.AuthUserDeleteRequest(name="alice"))
    refused("gone", lambda: client(user="alice", password="new"), grpc.RpcError)
    root = client(user="root", password="secret")
    call(root, "AuthDisable", etcdrpc.AuthDisableRequest())
    same("open", c.get("auth/read/a")[0], b"1")


main()
