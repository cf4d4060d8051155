"""The program of `etcd3gw`, Python's client of the JSON gateway: OpenStack's.

Where it has no method of its own (locks and elections of the server, users, members) its `post` is used, as its users do.
"""

import base64
import queue
import threading
import time

import etcd3gw
import requests
from etcd3gw import exceptions

from check import check, control, endpoints, eventually, files, main, refused, same, take


def client(member=0, token=None):
    host, port = endpoints()[member]
    session = requests.Session()
    if token:
        session.headers["Authorization"] = token
    if files():
        # What the environment says of authorities would come first.
        session.trust_env = False
        session.verify, certificate, key = files()
        session.cert = (certificate, key)
    protocol = "https" if files() else "http"
    return etcd3gw.client(host=host, port=port, protocol=protocol, timeout=30, session=session)


def b64(text):
    return base64.b64encode(text.encode()).decode()


def post(own, path, **body):
    return own.post(own.get_url(path), json=body)


def words(error):
    """What the server said: the exception's text is the answer's body."""
    return requests.compat.json.loads(error.args[0] if error.args else error.detail_text)


def told(events):
    words = []
    for event in events:
        kv = event["kv"]
        deleted = event.get("type") == "DELETE"
        words.append(f"delete {kv['key'].decode()}" if deleted else f"put {kv['key'].decode()}={kv['value'].decode()}")
    return ", ".join(words)


c = client()


@check("gateway: the version says where the API is")
def _():
    same("path", c.api_path, "/v3/")


@check("gateway: put, get, ranges, orders, limits, the past, deletes")
def _():
    for key, value in (("a", "3"), ("b", "1"), ("c", "2")):
        c.put(f"kv/{key}", value)
    same("get", c.get("kv/a"), [b"3"])
    same("nothing", c.get("kv/none"), [])
    found = c.get_prefix("kv/", sort_order="ascend", sort_target="value")
    same("by value", [value for value, _ in found], [b"1", b"2", b"3"])
    _, meta = c.get("kv/a", metadata=True)[0]
    same("numbers are strings", [type(meta[name]) for name in ("create_revision", "mod_revision", "version")], [str] * 3)
    same("limit", c.get("kv/", range_end="kv0", limit=2), [b"3", b"1"])
    same("keys only", c.get("kv/", range_end="kv0", keys_only=True), [b"", b"", b""])
    c.put("kv/a", "4")
    same("the past", c.get("kv/a", revision=int(meta["mod_revision"])), [b"3"])
    same("all", b"4" in [value for value, _ in c.get_all()], True)
    same("count", post(c, "/kv/range", key=b64("kv/"), range_end=b64("kv0"), count_only=True)["count"], "3")
    same("deleted", (c.delete("kv/a"), c.delete("kv/a"), c.delete_prefix("kv/")), (True, False, True))


@check("gateway: bytes that are no text")
def _():
    all_bytes = bytes(range(256))
    c.put(b"bytes/\xff\x00", all_bytes)
    value, meta = c.get(b"bytes/\xff\x00", metadata=True)[0]
    same("value", (meta["key"], value), (b"bytes/\xff\x00", all_bytes))


@check("gateway: create, replace, transactions")
def _():
    same("new", (c.create("txn/a", "1"), c.create("txn/a", "2")), (True, False))
    same("as it was", (c.replace("txn/a", "1", "2"), c.replace("txn/a", "1", "3")), (True, False))
    answer = c.transaction(
        {
            "compare": [{"key": b64("txn/a"), "result": "GREATER", "target": "VERSION", "version": 1}],
            "success": [
                {"request_put": {"key": b64("txn/b"), "value": b64("1"), "prev_kv": True}},
                {"request_range": {"key": b64("txn/"), "range_end": b64("txn0")}},
                {"request_txn": {"compare": [], "success": [{"request_delete_range": {"key": b64("txn/a")}}]}},
            ],
        }
    )
    same("then", answer["succeeded"], True)
    same("kinds", [list(one)[0] for one in answer["responses"]], ["response_put", "response_range", "response_txn"])
    same("range", answer["responses"][1]["response_range"]["count"], "2")


@check("gateway: refusals have etcd's code and words")
def _():
    answer = requests_post(c, "/kv/put", {"value": b64("1")})
    same("status", answer.status_code, 400)
    same("body", (answer.json()["code"], answer.json()["message"]), (3, "etcdserver: key is not provided"))
    answer = requests_post(c, "/kv/put", {"key": b64("x"), "lease": "4711"})
    same("not found", (answer.status_code, answer.json()["message"]), (404, "etcdserver: requested lease not found"))
    answer = requests_post(c, "/kv/range", {"key": b64("x"), "revision": str(1 << 60)})
    same("out of range", (answer.status_code, answer.json()["code"]), (400, 11))
    refused("by the client", lambda: c.put("", "1"), exceptions.Etcd3Exception)
    same("unknown fields are passed over", requests_post(c, "/kv/range", {"key": b64("x"), "nonsense": 1}).status_code, 200)


def requests_post(own, path, body):
    return own.session.post(own.get_url(path), json=body, timeout=30)


@check("gateway: compaction")
def _():
    c.put("compact", "1")
    c.put("compact", "2")
    _, meta = c.get("compact", metadata=True)[0]
    post(c, "/kv/compaction", revision=meta["mod_revision"], physical=True)
    answer = requests_post(c, "/kv/compaction", {"revision": meta["mod_revision"]})
    same("again", answer.json()["message"], "etcdserver: mvcc: required revision has been compacted")
    same("the present", c.get("compact"), [b"2"])


@check("gateway: watches with history, and what was there before")
def _():
    c.put("watch/a", "1")
    _, meta = c.get("watch/a", metadata=True)[0]
    c.put("watch/a", "2")
    c.delete("watch/a")
    events, cancel = c.watch_prefix("watch/", start_revision=int(meta["mod_revision"]), prev_kv=True)
    history = take(events, 3)
    same("history", told(history), "put watch/a=1, put watch/a=2, delete watch/a")
    same("before", [one.get("prev_kv", {}).get("value") for one in history], [None, b64("1"), b64("2")])
    c.put("watch/b", "3")
    same("now", told(take(events, 1)), "put watch/b=3")
    cancel()


@check("gateway: watches with filters, and once")
def _():
    events, cancel = c.watch("watch/f", filters=["NOPUT"])
    c.put("watch/f", "1")
    c.delete("watch/f")
    same("filtered", told(take(events, 1)), "delete watch/f")
    cancel()
    seen = queue.Queue()
    one = threading.Thread(target=lambda: seen.put(c.watch_once("watch/once", timeout=20)), daemon=True)
    one.start()

    def put_again():
        c.put("watch/once", "1")
        return not seen.empty()

    eventually("an event", put_again)
    refused("silence", lambda: c.watch_once("watch/silent", timeout=0.2), exceptions.WatchTimedOut)


@check("gateway: a watch below the compacted revision ends and says from where on")
def _():
    c.put("watch/c", "1")
    c.put("watch/c", "2")
    _, meta = c.get("watch/c", metadata=True)[0]
    post(c, "/kv/compaction", revision=meta["mod_revision"])
    body = {"create_request": {"key": b64("watch/c"), "start_revision": str(int(meta["mod_revision"]) - 1)}}
    with c.session.post(c.get_url("/watch"), json=body, stream=True, timeout=30) as answer:
        lines = answer.iter_lines()
        results = [requests.compat.json.loads(next(lines))["result"] for _ in range(2)]
    same("created", results[0].get("created"), True)
    same("ended", (results[1].get("canceled"), results[1].get("compact_revision")), (True, meta["mod_revision"]))


@check("gateway: leases: grant, look, keys, refresh, revoke, expiry")
def _():
    lease = c.lease(600)
    c.put("lease/a", "1", lease=lease)
    same("look", (lease.ttl() > 500, lease.refresh(), lease.keys()), (True, 600, [b"lease/a"]))
    ids = lambda: [one["ID"] for one in post(c, "/lease/leases").get("leases", [])]
    eventually("it is in the list", lambda: str(lease.id) in ids())
    lease.revoke()
    same("its key", c.get("lease/a"), [])
    same("over", (lease.ttl(), lease.refresh()), (-1, -1))
    short = c.lease(2)
    c.put("lease/short", "1", lease=short)
    until = time.monotonic() + 4
    while time.monotonic() < until:
        short.refresh()
        time.sleep(0.5)
    same("kept", c.get("lease/short"), [b"1"])
    eventually("expired", lambda: c.get("lease/short") == [])


@check("gateway: the client's own locks")
def _():
    with c.lock("own", ttl=10) as lock:
        same("held", (lock.is_acquired(), c.lock("own", ttl=10).acquire(), lock.refresh()), (True, False, 10))
    same("after", c.lock("own", ttl=10).acquire(), True)


@check("gateway: the server's locks")
def _():
    first = post(c, "/lock/lock", name=b64("lock"))
    second = queue.Queue()
    threading.Thread(target=lambda: second.put(post(client(), "/lock/lock", name=b64("lock"))), daemon=True).start()
    eventually("two in line", lambda: len(c.get_prefix("lock/")) == 2)
    post(c, "/lock/unlock", key=first["key"])
    next_one = second.get(timeout=30)
    same("another key", next_one["key"] != first["key"], True)
    post(c, "/lock/unlock", key=next_one["key"])


@check("gateway: the server's elections")
def _():
    leader = post(c, "/election/campaign", name=b64("race"), lease=str(c.lease(60).id), value=b64("one"))["leader"]
    same("leader", post(c, "/election/leader", name=b64("race"))["kv"]["value"], b64("one"))
    with c.session.post(c.get_url("/election/observe"), json={"name": b64("race")}, stream=True, timeout=30) as answer:
        lines = answer.iter_lines()
        value = lambda: requests.compat.json.loads(next(lines))["result"]["kv"]["value"]
        same("observed", value(), b64("one"))
        post(c, "/election/proclaim", leader=leader, value=b64("two"))
        same("observed", value(), b64("two"))
    post(c, "/election/resign", leader=leader)
    answer = requests_post(c, "/election/leader", {"name": b64("race")})
    same("nobody", answer.json()["message"], "election: no leader")


@check("gateway: members, status, alarms, hashes")
def _():
    same("members", sorted(member["name"] for member in c.members()), ["n1", "n2", "n3"])
    status = c.status()
    same("status", (status["version"].startswith("3."), int(status["dbSize"]) > 0, int(status["leader"]) > 0), (True,) * 3)
    same("alarms", post(c, "/maintenance/alarm", action="GET").get("alarms", []), [])
    same("hash", "hash" in post(c, "/maintenance/hashkv"), True)
    added = post(c, "/cluster/member/add", peerURLs=["http://127.0.0.1:1"], isLearner=True)["member"]
    same("a learner", added["isLearner"], True)
    same("removed", len(post(c, "/cluster/member/remove", ID=added["ID"])["members"]), 3)
    post(c, "/maintenance/defragment")
    same("serves", c.get("kv/none"), [])


@check("gateway: a snapshot")
def _():
    with c.session.post(c.get_url("/maintenance/snapshot"), json={}, stream=True, timeout=30) as answer:
        size = 0
        for line in answer.iter_lines():
            result = requests.compat.json.loads(line)["result"]
            size += len(base64.b64decode(result.get("blob", "")))
    same("it is not empty", size > 32, True)


@check("gateway: users, roles, tokens; refused without; disabled again")
def _():
    post(c, "/auth/user/add", name="root", password="secret")
    post(c, "/auth/role/add", name="root")
    post(c, "/auth/user/grant", user="root", role="root")
    post(c, "/auth/user/add", name="alice", password="wonder")
    post(c, "/auth/role/add", name="reader")
    perm = {"permType": "READ", "key": b64("auth/read/"), "range_end": b64("auth/read0")}
    post(c, "/auth/role/grant", name="reader", perm=perm)
    post(c, "/auth/user/grant", user="alice", role="reader")
    same("users", post(c, "/auth/user/list")["users"], ["alice", "root"])
    same("roles", post(c, "/auth/user/get", name="alice")["roles"], ["reader"])
    # READ is the zero of its kind, and zeros are left out.
    same("permissions", post(c, "/auth/role/get", role="reader")["perm"], [{"key": perm["key"], "range_end": perm["range_end"]}])
    c.put("auth/read/a", "1")
    post(c, "/auth/enable")
    try:
        answer = requests_post(c, "/kv/range", {"key": b64("auth/read/a")})
        same("nobody", (answer.status_code, answer.json()["message"]), (400, "etcdserver: user name is empty"))
        answer = requests_post(c, "/auth/authenticate", {"name": "alice", "password": "x"})
        same("a wrong word", answer.json()["message"], "etcdserver: authentication failed, invalid user ID or password")
        alice = client(token=post(c, "/auth/authenticate", name="alice", password="wonder")["token"])
        same("read", alice.get("auth/read/a"), [b"1"])
        answer = requests_post(alice, "/kv/put", {"key": b64("auth/read/a"), "value": b64("2")})
        same("a put", (answer.status_code, answer.json()["message"]), (403, "etcdserver: permission denied"))
        answer = requests_post(client(token="nonsense.1"), "/kv/range", {"key": b64("auth/read/a")})
        same("a wrong token", (answer.status_code, answer.json()["message"]), (401, "etcdserver: invalid auth token"))
        bearer = client(token="Bearer " + alice.session.headers["Authorization"])
        same("as a bearer", bearer.get("auth/read/a"), [b"1"])
    finally:
        root = client(token=post(c, "/auth/authenticate", name="root", password="secret")["token"])
        same("status", post(root, "/auth/status")["enabled"], True)
        post(root, "/auth/disable")
    same("open", c.get("auth/read/a"), [b"1"])


@check("gateway: the member comes back")
def _():
    own = client(1)
    own.put("reconnect", "1")
    control("kill 2")
    refused("a call", lambda: own.get("reconnect"), exceptions.ConnectionFailedError)
    control("start 2")

    def back():
        try:
            return own.get("reconnect") == [b"1"]
        except exceptions.Etcd3Exception:
            return False

    eventually("a call", back)


main()
