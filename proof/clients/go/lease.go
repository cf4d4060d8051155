package main

import (
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var leaseChecks = []check{
	{"lease: grant, look, list, revoke", func(t *T) {
		lease := must(t.c.Grant(t.ctx, 600))
		same(t, "ttl", lease.TTL, 600)
		t.put("lease/a", "1", clientv3.WithLease(lease.ID))
		t.put("lease/b", "1", clientv3.WithLease(lease.ID))
		look := must(t.c.TimeToLive(t.ctx, lease.ID, clientv3.WithAttachedKeys()))
		t.holds(look.GrantedTTL == 600 && look.TTL > 500 && len(look.Keys) == 2, "look: %v", look)
		t.eventually("it is in the list", func() bool {
			for _, one := range must(t.c.Leases(t.ctx)).Leases {
				if one.ID == lease.ID {
					return true
				}
			}
			return false
		})
		before := t.get("lease/a").Header.Revision
		must(t.c.Revoke(t.ctx, lease.ID))
		gone := t.get("lease/", clientv3.WithPrefix())
		same(t, "its keys are gone", gone.Count, 0)
		same(t, "at one revision", gone.Header.Revision, before+1)
		same(t, "its time", must(t.c.TimeToLive(t.ctx, lease.ID)).TTL, -1)
		_, err := t.c.Revoke(t.ctx, lease.ID)
		t.is(err, rpctypes.ErrLeaseNotFound)
	}},
	{"lease: kept alive it lives on, and then it expires with its keys", func(t *T) {
		c := t.client()
		defer c.Close()
		lease := must(c.Grant(t.ctx, 2)).ID
		made := must(c.Put(t.ctx, "lease/alive", "v", clientv3.WithLease(lease))).Header.Revision
		ch := must(c.KeepAlive(t.ctx, lease))
		for until := time.Now().Add(5 * time.Second); time.Now().Before(until); {
			select {
			case answer, open := <-ch:
				t.holds(open, "the keep-alive ended")
				same(t, "ttl", answer.TTL, 2)
			case <-time.After(4 * time.Second):
				t.fail("no answer to keep-alives")
			}
		}
		same(t, "after twice its time", t.value("lease/alive"), "v")
		watch := t.c.Watch(t.ctx, "lease/alive", clientv3.WithPrevKV(), clientv3.WithRev(made+1))
		t.ok(c.Close())
		same(t, "expiry", told(t.events(watch, 1)), "delete lease/alive was v")
	}},
	{"lease: kept alive once", func(t *T) {
		lease := must(t.c.Grant(t.ctx, 60)).ID
		same(t, "ttl", must(t.c.KeepAliveOnce(t.ctx, lease)).TTL, 60)
		must(t.c.Revoke(t.ctx, lease))
		_, err := t.c.KeepAliveOnce(t.ctx, lease)
		t.is(err, rpctypes.ErrLeaseNotFound)
	}},
	{"lease: the keep-alive of a revoked lease ends", func(t *T) {
		lease := must(t.c.Grant(t.ctx, 3)).ID
		ch := must(t.c.KeepAlive(t.ctx, lease))
		<-ch
		must(t.c.Revoke(t.ctx, lease))
		t.eventually("its channel closes", func() bool {
			select {
			case _, open := <-ch:
				return !open
			default:
				return false
			}
		})
	}},
	{"lease: the shortest and the longest", func(t *T) {
		same(t, "the shortest", must(t.c.Grant(t.ctx, 1)).TTL, 2)
		_, err := t.c.Grant(t.ctx, 9_000_000_001)
		t.is(err, rpctypes.ErrLeaseTTLTooLarge)
	}},
	{"lease: a put without it takes the key away from it", func(t *T) {
		lease := must(t.c.Grant(t.ctx, 600)).ID
		t.put("lease/off", "1", clientv3.WithLease(lease))
		t.put("lease/off", "2")
		must(t.c.Revoke(t.ctx, lease))
		same(t, "it stays", t.value("lease/off"), "2")
	}},
}
