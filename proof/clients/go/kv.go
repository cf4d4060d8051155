package main

import (
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// keys of an answer, by blanks.
func keys(kvs []*mvccpb.KeyValue) string {
	var names []string
	for _, kv := range kvs {
		names = append(names, string(kv.Key))
	}
	return strings.Join(names, " ")
}

// put is a put that must succeed; its revision.
func (t *T) put(key, value string, opts ...clientv3.OpOption) int64 {
	return must(t.c.Put(t.ctx, key, value, opts...)).Header.Revision
}

// get is a get that must succeed.
func (t *T) get(key string, opts ...clientv3.OpOption) *clientv3.GetResponse {
	return must(t.c.Get(t.ctx, key, opts...))
}

// value of one key, "" if there is none.
func (t *T) value(key string) string {
	if kvs := t.get(key).Kvs; len(kvs) == 1 {
		return string(kvs[0].Value)
	}
	return ""
}

var kvChecks = []check{
	{"kv: what was put is read back, with its revisions", func(t *T) {
		first := t.put("kv/a/k", "one")
		second := t.put("kv/a/k", "two")
		same(t, "one put, one revision", second, first+1)
		kv := t.get("kv/a/k").Kvs[0]
		same(t, "value", string(kv.Value), "two")
		same(t, "revisions", []int64{kv.CreateRevision, kv.ModRevision, kv.Version}, []int64{first, second, 2})
		past := t.get("kv/a/k", clientv3.WithRev(first))
		same(t, "the past", string(past.Kvs[0].Value), "one")
		t.holds(past.Header.Revision >= second, "a header tells the present: %d", past.Header.Revision)
	}},
	{"kv: a put tells what was there before", func(t *T) {
		t.holds(must(t.c.Put(t.ctx, "kv/prev", "1", clientv3.WithPrevKV())).PrevKv == nil, "there was something")
		before := must(t.c.Put(t.ctx, "kv/prev", "2", clientv3.WithPrevKV())).PrevKv
		same(t, "before", string(before.Value), "1")
	}},
	{"kv: a put may keep the value, or the lease", func(t *T) {
		lease := must(t.c.Grant(t.ctx, 600)).ID
		t.put("kv/keep", "v", clientv3.WithLease(lease))
		t.put("kv/keep", "w", clientv3.WithIgnoreLease())
		t.put("kv/keep", "", clientv3.WithIgnoreValue(), clientv3.WithLease(lease))
		kv := t.get("kv/keep").Kvs[0]
		same(t, "value", string(kv.Value), "w")
		same(t, "lease", kv.Lease, int64(lease))
		_, err := t.c.Put(t.ctx, "kv/keep/none", "", clientv3.WithIgnoreValue())
		t.is(err, rpctypes.ErrKeyNotFound)
	}},
	{"kv: ranges: prefix, from a key, between two, of everything", func(t *T) {
		for _, key := range []string{"kv/r/a", "kv/r/b", "kv/r/c", "kv/s"} {
			t.put(key, key)
		}
		same(t, "prefix", keys(t.get("kv/r/", clientv3.WithPrefix()).Kvs), "kv/r/a kv/r/b kv/r/c")
		same(t, "range", keys(t.get("kv/r/a", clientv3.WithRange("kv/r/c")).Kvs), "kv/r/a kv/r/b")
		same(t, "from key", keys(t.get("kv/r/c", clientv3.WithFromKey(), clientv3.WithLimit(2)).Kvs), "kv/r/c kv/s")
		t.holds(t.get("", clientv3.WithPrefix(), clientv3.WithCountOnly()).Count >= 4, "everything is more than that")
	}},
	{"kv: limits, counts, keys only", func(t *T) {
		for _, key := range []string{"kv/l/a", "kv/l/b", "kv/l/c"} {
			t.put(key, "value")
		}
		page := t.get("kv/l/", clientv3.WithPrefix(), clientv3.WithLimit(2))
		t.holds(page.More && page.Count == 3 && len(page.Kvs) == 2, "page: %v", page)
		count := t.get("kv/l/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		t.holds(count.Count == 3 && len(count.Kvs) == 0, "count: %v", count)
		only := t.get("kv/l/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		same(t, "keys", keys(only.Kvs), "kv/l/a kv/l/b kv/l/c")
		same(t, "no value", len(only.Kvs[0].Value), 0)
	}},
	{"kv: ranges sorted by each target, both ways", func(t *T) {
		t.put("kv/o/a", "3")
		t.put("kv/o/b", "1")
		t.put("kv/o/c", "2")
		t.put("kv/o/a", "3")
		for target, wanted := range map[clientv3.SortTarget]string{
			clientv3.SortByKey:            "kv/o/a kv/o/b kv/o/c",
			clientv3.SortByValue:          "kv/o/b kv/o/c kv/o/a",
			clientv3.SortByCreateRevision: "kv/o/a kv/o/b kv/o/c",
			clientv3.SortByModRevision:    "kv/o/b kv/o/c kv/o/a",
		} {
			up := t.get("kv/o/", clientv3.WithPrefix(), clientv3.WithSort(target, clientv3.SortAscend))
			same(t, "ascending", keys(up.Kvs), wanted)
			down := t.get("kv/o/", clientv3.WithPrefix(), clientv3.WithSort(target, clientv3.SortDescend))
			words := strings.Fields(wanted)
			same(t, "descending", keys(down.Kvs), words[2]+" "+words[1]+" "+words[0])
		}
		most := t.get("kv/o/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByVersion, clientv3.SortDescend), clientv3.WithLimit(1))
		same(t, "by version", keys(most.Kvs), "kv/o/a")
		same(t, "last created", keys(t.get("kv/o/", clientv3.WithLastCreate()...).Kvs), "kv/o/c")
		same(t, "first key", keys(t.get("kv/o/", clientv3.WithFirstKey()...).Kvs), "kv/o/a")
		same(t, "last revision", keys(t.get("kv/o/", clientv3.WithLastRev()...).Kvs), "kv/o/a")
	}},
	{"kv: ranges filtered by revisions", func(t *T) {
		first := t.put("kv/f/a", "1")
		second := t.put("kv/f/b", "1")
		t.put("kv/f/a", "2")
		in := func(opts ...clientv3.OpOption) string {
			return keys(t.get("kv/f/", append(opts, clientv3.WithPrefix())...).Kvs)
		}
		same(t, "min mod", in(clientv3.WithMinModRev(second+1)), "kv/f/a")
		same(t, "max mod", in(clientv3.WithMaxModRev(second)), "kv/f/b")
		same(t, "min create", in(clientv3.WithMinCreateRev(second)), "kv/f/b")
		same(t, "max create", in(clientv3.WithMaxCreateRev(first)), "kv/f/a")
	}},
	{"kv: a serializable read sees the last write in the end, on every member", func(t *T) {
		t.put("kv/serial", "v")
		for _, endpoint := range endpoints() {
			c := t.client(endpoint)
			defer c.Close()
			t.eventually("the value at "+endpoint, func() bool {
				got := must(c.Get(t.ctx, "kv/serial", clientv3.WithSerializable()))
				return len(got.Kvs) == 1 && string(got.Kvs[0].Value) == "v"
			})
			got := must(c.Get(t.ctx, "kv/serial"))
			same(t, "linearizable", string(got.Kvs[0].Value), "v")
		}
	}},
	{"kv: deletes count and tell what was there", func(t *T) {
		t.put("kv/d/a", "1")
		t.put("kv/d/b", "2")
		gone := must(t.c.Delete(t.ctx, "kv/d/", clientv3.WithPrefix(), clientv3.WithPrevKV()))
		same(t, "count", gone.Deleted, 2)
		same(t, "before", keys(gone.PrevKvs), "kv/d/a kv/d/b")
		none := must(t.c.Delete(t.ctx, "kv/d/", clientv3.WithPrefix()))
		same(t, "again", none.Deleted, 0)
		same(t, "no new revision", none.Header.Revision, gone.Header.Revision)
	}},
	{"kv: operations as values", func(t *T) {
		put := must(t.c.Do(t.ctx, clientv3.OpPut("kv/op", "v"))).Put()
		got := must(t.c.Do(t.ctx, clientv3.OpGet("kv/op"))).Get()
		same(t, "revision", got.Kvs[0].ModRevision, put.Header.Revision)
		same(t, "deleted", must(t.c.Do(t.ctx, clientv3.OpDelete("kv/op"))).Del().Deleted, 1)
	}},
	{"kv: refusals are the errors that programs compare with", func(t *T) {
		_, err := t.c.Put(t.ctx, "", "v")
		t.is(err, rpctypes.ErrEmptyKey)
		_, err = t.c.Get(t.ctx, "kv/a", clientv3.WithRev(1<<60))
		t.is(err, rpctypes.ErrFutureRev)
		_, err = t.c.Put(t.ctx, "kv/lease", "v", clientv3.WithLease(12345))
		t.is(err, rpctypes.ErrLeaseNotFound)
		_, err = t.c.Put(t.ctx, "kv/big", strings.Repeat("x", 1_600_000))
		t.is(err, rpctypes.ErrRequestTooLarge)
		t.put("kv/big", strings.Repeat("x", 1_500_000))
		same(t, "a big value", len(t.value("kv/big")), 1_500_000)
	}},
	{"kv: compaction forgets the past and keeps the present", func(t *T) {
		old := t.put("kv/c", "1")
		t.put("kv/c", "2")
		now := t.put("kv/c", "3")
		must(t.c.Compact(t.ctx, now-1))
		_, err := t.c.Get(t.ctx, "kv/c", clientv3.WithRev(old))
		t.is(err, rpctypes.ErrCompacted)
		same(t, "at it", string(t.get("kv/c", clientv3.WithRev(now-1)).Kvs[0].Value), "2")
		_, err = t.c.Compact(t.ctx, now-1)
		t.is(err, rpctypes.ErrCompacted)
		_, err = t.c.Compact(t.ctx, now+1000)
		t.is(err, rpctypes.ErrFutureRev)
		must(t.c.Compact(t.ctx, now, clientv3.WithCompactPhysical()))
		same(t, "the present", t.value("kv/c"), "3")
	}},
}
