package main

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	naming "go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.etcd.io/etcd/client/v3/ordering"
)

var layerChecks = []check{
	{"namespace: keys, transactions, watches and leases under a prefix", func(t *T) {
		c := t.client()
		defer c.Close()
		c.KV = namespace.NewKV(c.KV, "space/")
		c.Watcher = namespace.NewWatcher(c.Watcher, "space/")
		c.Lease = namespace.NewLease(c.Lease, "space/")
		watch := c.Watch(t.ctx, "a", clientv3.WithCreatedNotify())
		t.next(watch)
		lease := must(c.Grant(t.ctx, 600)).ID
		must(c.Put(t.ctx, "a", "1", clientv3.WithLease(lease)))
		same(t, "outside", t.value("space/a"), "1")
		same(t, "the watch", told(t.events(watch, 1)), "create a=1")
		look := must(c.TimeToLive(t.ctx, lease, clientv3.WithAttachedKeys()))
		same(t, "its keys", fmt.Sprintf("%s", look.Keys), "[a]")
		answer := must(c.Txn(t.ctx).
			If(clientv3.Compare(clientv3.Value("a"), "=", "1")).
			Then(clientv3.OpGet("", clientv3.WithPrefix())).
			Commit())
		same(t, "within", keys(answer.Responses[0].GetResponseRange().Kvs), "a")
		same(t, "deleted", must(c.Delete(t.ctx, "", clientv3.WithFromKey())).Deleted, 1)
		t.holds(t.get("", clientv3.WithFromKey(), clientv3.WithCountOnly()).Count > 0, "it deleted what is outside")
	}},
	{"leasing: reads from its cache, which others' writes take away", func(t *T) {
		one, closeOne, err := leasing.NewKV(t.c, "leasing/")
		t.ok(err)
		defer closeOne()
		two, closeTwo, err := leasing.NewKV(t.c, "leasing/")
		t.ok(err)
		defer closeTwo()
		must(one.Put(t.ctx, "leased", "1"))
		must(one.Get(t.ctx, "leased"))
		same(t, "the lease's key", t.get("leasing/leased").Count, 1)
		same(t, "from the cache", string(must(one.Get(t.ctx, "leased")).Kvs[0].Value), "1")
		must(two.Put(t.ctx, "leased", "2"))
		same(t, "after the other's write", string(must(one.Get(t.ctx, "leased")).Kvs[0].Value), "2")
		answer := must(one.Txn(t.ctx).
			If(clientv3.Compare(clientv3.Value("leased"), "=", "2")).
			Then(clientv3.OpPut("leased", "3")).
			Commit())
		t.holds(answer.Succeeded, "the transaction failed")
		same(t, "outside", t.value("leased"), "3")
	}},
	{"mirror: everything that is there, then what changes", func(t *T) {
		for i := range 20 {
			t.put(fmt.Sprintf("mirror/%02d", i), "v")
		}
		sync := mirror.NewSyncer(t.c, "mirror/", 0)
		pages, errs := sync.SyncBase(t.ctx)
		n := 0
		for page := range pages {
			n += len(page.Kvs)
		}
		t.ok(<-errs)
		same(t, "keys", n, 20)
		updates := sync.SyncUpdates(t.ctx)
		t.put("mirror/new", "v")
		same(t, "update", told(t.events(updates, 1)), "create mirror/new=v")
	}},
	{"ordering: a reader never goes back in time", func(t *T) {
		c := t.client()
		defer c.Close()
		violations := 0
		again := ordering.NewOrderViolationSwitchEndpointClosure(c)
		kv := ordering.NewKV(c.KV, func(op clientv3.Op, answer clientv3.OpResponse, before int64) error {
			violations++
			return again(op, answer, before)
		})
		last := int64(0)
		for i := range 30 {
			t.put("ordering", fmt.Sprint(i))
			got, err := kv.Get(t.ctx, "ordering", clientv3.WithSerializable())
			if err == ordering.ErrNoGreaterRev {
				continue // Every member was behind each time it was asked; the reader was told so.
			}
			t.ok(err)
			t.holds(got.Header.Revision >= last, "back from %d to %d", last, got.Header.Revision)
			last = got.Header.Revision
		}
		got := must(kv.Get(t.ctx, "ordering"))
		same(t, "the last", string(got.Kvs[0].Value), "29")
	}},
	{"naming: services register, are listed, watched and leave", func(t *T) {
		manager := must(naming.NewManager(t.c, "naming/service"))
		ctx, cancel := context.WithCancel(t.ctx)
		defer cancel()
		updates := must(manager.NewWatchChannel(ctx))
		lease := must(t.c.Grant(t.ctx, 600)).ID
		t.ok(manager.AddEndpoint(t.ctx, "naming/service/one", naming.Endpoint{Addr: "10.0.0.1:1"}, clientv3.WithLease(lease)))
		same(t, "added", (<-updates)[0].Endpoint.Addr, "10.0.0.1:1")
		// A list is a serializable read.
		t.eventually("it is in the list", func() bool {
			return must(manager.List(t.ctx))["naming/service/one"].Addr == "10.0.0.1:1"
		})
		must(t.c.Revoke(t.ctx, lease))
		same(t, "gone with its lease", (<-updates)[0].Op, naming.Delete)
	}},
}
