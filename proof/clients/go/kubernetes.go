package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-semver/semver"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
)

// api is a client with Kubernetes' own interface.
func (t *T) api() *kubernetes.Client { return must(kubernetes.New(config(endpoints()...))) }

// pods puts this many objects under a prefix.
func (t *T) pods(prefix string, n int) {
	for first := 0; first < n; first += 100 {
		var ops []clientv3.Op
		for i := first; i < min(first+100, n); i++ {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("%spod-%05d", prefix, i), "object"))
		}
		must(t.c.Txn(t.ctx).Then(ops...).Commit())
	}
}

var kubernetesChecks = []check{
	{"kubernetes: Get, now and at a revision", func(t *T) {
		k := t.api()
		defer k.Close()
		first := t.put("/registry/get/a", "1")
		t.put("/registry/get/a", "2")
		now := must(k.Kubernetes.Get(t.ctx, "/registry/get/a", kubernetes.GetOptions{}))
		same(t, "now", string(now.KV.Value), "2")
		past := must(k.Kubernetes.Get(t.ctx, "/registry/get/a", kubernetes.GetOptions{Revision: first}))
		same(t, "past", string(past.KV.Value), "1")
		none := must(k.Kubernetes.Get(t.ctx, "/registry/get/none", kubernetes.GetOptions{}))
		t.holds(none.KV == nil && none.Revision > first, "nothing, at a revision: %v", none)
	}},
	{"kubernetes: List in pages that double, all of one revision", func(t *T) {
		k := t.api()
		defer k.Close()
		t.pods("/registry/pods/", 2300)
		limit := int64(500)
		first := must(k.Kubernetes.List(t.ctx, "/registry/pods/", kubernetes.ListOptions{Limit: limit}))
		pinned := first.Revision
		all := first.Kvs
		last := first
		for int64(len(last.Kvs)) < last.Count {
			// Meanwhile others write: the pages must not see it.
			t.put("/registry/pods/pod-00000", "changed")
			t.put("/registry/pods/zzz", "new")
			limit *= 2
			last = must(k.Kubernetes.List(t.ctx, "/registry/pods/", kubernetes.ListOptions{
				Revision: pinned,
				Limit:    limit,
				Continue: string(all[len(all)-1].Key) + "\x00",
			}))
			all = append(all, last.Kvs...)
		}
		same(t, "objects", len(all), 2300)
		for i, kv := range all {
			same(t, "key", string(kv.Key), fmt.Sprintf("/registry/pods/pod-%05d", i))
			t.holds(kv.ModRevision <= pinned, "%s is of a later revision", kv.Key)
		}
	}},
	{"kubernetes: a page of a compacted revision is refused", func(t *T) {
		k := t.api()
		defer k.Close()
		t.pods("/registry/old/", 3)
		page := must(k.Kubernetes.List(t.ctx, "/registry/old/", kubernetes.ListOptions{Limit: 1}))
		now := t.put("/registry/old/x", "1")
		must(t.c.Compact(t.ctx, now))
		_, err := k.Kubernetes.List(t.ctx, "/registry/old/", kubernetes.ListOptions{Limit: 1, Revision: page.Revision, Continue: string(page.Kvs[0].Key) + "\x00"})
		t.is(err, rpctypes.ErrCompacted)
		_, err = k.Kubernetes.Get(t.ctx, "/registry/old/x", kubernetes.GetOptions{Revision: now + 1000})
		t.is(err, rpctypes.ErrFutureRev)
	}},
	{"kubernetes: Count and keys only", func(t *T) {
		k := t.api()
		defer k.Close()
		t.pods("/registry/count/", 250)
		same(t, "count", must(k.Kubernetes.Count(t.ctx, "/registry/count/", kubernetes.CountOptions{})), 250)
		only := t.get("/registry/count/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		same(t, "keys", len(only.Kvs), 250)
		for _, kv := range only.Kvs {
			t.holds(len(kv.Value) == 0 && kv.ModRevision > 0, "%v", kv)
		}
	}},
	{"kubernetes: the health check's read of a key that is not there", func(t *T) {
		same(t, "count", t.get("/registry/health").Count, 0)
	}},
	{"kubernetes: OptimisticPut creates, updates, and tells who was faster", func(t *T) {
		k := t.api()
		defer k.Close()
		failing := kubernetes.PutOptions{GetOnFailure: true}
		made := must(k.Kubernetes.OptimisticPut(t.ctx, "/registry/put/a", []byte("1"), 0, failing))
		t.holds(made.Succeeded, "the creation failed")
		again := must(k.Kubernetes.OptimisticPut(t.ctx, "/registry/put/a", []byte("x"), 0, failing))
		t.holds(!again.Succeeded, "created twice")
		same(t, "what is there", string(again.KV.Value), "1")
		same(t, "of which revision", again.KV.ModRevision, made.Revision)
		changed := must(k.Kubernetes.OptimisticPut(t.ctx, "/registry/put/a", []byte("2"), made.Revision, failing))
		t.holds(changed.Succeeded && changed.Revision > made.Revision, "the update failed")
		silent := must(k.Kubernetes.OptimisticPut(t.ctx, "/registry/put/a", []byte("x"), made.Revision, kubernetes.PutOptions{}))
		t.holds(!silent.Succeeded && silent.KV == nil, "a late update: %v", silent)
		gone := must(k.Kubernetes.OptimisticPut(t.ctx, "/registry/put/none", []byte("x"), 12345, failing))
		t.holds(!gone.Succeeded && gone.KV == nil, "an update of nothing: %v", gone)
	}},
	{"kubernetes: OptimisticDelete deletes only what it saw", func(t *T) {
		k := t.api()
		defer k.Close()
		rev := t.put("/registry/delete/a", "1")
		late := must(k.Kubernetes.OptimisticDelete(t.ctx, "/registry/delete/a", rev-1, kubernetes.DeleteOptions{GetOnFailure: true}))
		t.holds(!late.Succeeded, "it deleted what it had not seen")
		same(t, "what is there", string(late.KV.Value), "1")
		done := must(k.Kubernetes.OptimisticDelete(t.ctx, "/registry/delete/a", rev, kubernetes.DeleteOptions{}))
		t.holds(done.Succeeded, "it is still there")
		// The revision of the deletion is the resource version of the event.
		event := t.events(t.c.Watch(t.ctx, "/registry/delete/a", clientv3.WithRev(done.Revision), clientv3.WithPrevKV()), 1)[0]
		same(t, "event", event.Kv.ModRevision, done.Revision)
		same(t, "what was deleted", string(event.PrevKv.Value), "1")
	}},
	{"kubernetes: two compactors, of whom one compacts", func(t *T) {
		compact := func(version, rev int64) (int64, int64) {
			answer := must(t.c.Txn(t.ctx).
				If(clientv3.Compare(clientv3.Version("compact_rev_key"), "=", version)).
				Then(clientv3.OpPut("compact_rev_key", fmt.Sprint(rev))).
				Else(clientv3.OpGet("compact_rev_key")).
				Commit())
			if !answer.Succeeded {
				return answer.Responses[0].GetResponseRange().Kvs[0].Version, answer.Header.Revision
			}
			if rev > 0 {
				must(t.c.Compact(t.ctx, rev))
			}
			return version + 1, answer.Header.Revision
		}
		version, rev := compact(0, 0)
		same(t, "the first", version, 1)
		watch := t.c.Watch(t.ctx, "compact_rev_key", clientv3.WithRev(rev+1))
		next, _ := compact(version, rev)
		same(t, "one of them", next, 2)
		lost, _ := compact(version, rev)
		same(t, "the other", lost, 2)
		same(t, "whoever watches", told(t.events(watch, 1)), fmt.Sprintf("modify compact_rev_key=%d", rev))
	}},
	{"kubernetes: a watch has what was there before for every change", func(t *T) {
		ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(t.ctx))
		defer cancel()
		from := t.put("/registry/watch/a", "1")
		ch := t.c.Watch(ctx, "/registry/watch/", clientv3.WithRev(from+1), clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithProgressNotify())
		t.put("/registry/watch/a", "2")
		t.put("/registry/watch/b", "1")
		must(t.c.Delete(t.ctx, "/registry/watch/a"))
		events := t.events(ch, 3)
		same(t, "events", told(events), "modify /registry/watch/a=2 was 1, create /registry/watch/b=1, delete /registry/watch/a was 2")
		for _, event := range events {
			t.holds(event.IsCreate() || event.PrevKv != nil, "no prev_kv: the API server would end this watch")
		}
	}},
	{"kubernetes: a consistent read from the cache, with progress asked for every 100 ms", func(t *T) {
		ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(t.ctx))
		defer cancel()
		t.put("/registry/cache/a", "1")
		list := t.get("/registry/cache/", clientv3.WithPrefix())
		ch := t.c.Watch(ctx, "/registry/cache/", clientv3.WithRev(list.Header.Revision+1), clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithProgressNotify())
		for round := range 5 {
			t.put("/registry/elsewhere", fmt.Sprint(round))
			// As the API server: what is the present, without any object?
			present := t.get("/registry/cache/", clientv3.WithPrefix(), clientv3.WithCountOnly()).Header.Revision
			ticks := time.NewTicker(100 * time.Millisecond)
			over := time.After(patience)
			for seen := int64(0); seen < present; {
				select {
				case response, open := <-ch:
					t.holds(open, "the watch is over")
					t.ok(response.Err())
					seen = response.Header.Revision
				case <-ticks.C:
					t.ok(t.c.RequestProgress(ctx))
				case <-over:
					t.fail("revision %d is not reached within %v", present, patience)
				}
			}
			ticks.Stop()
		}
	}},
	{"kubernetes: one lease for many events, granted and never kept alive", func(t *T) {
		k := t.api()
		defer k.Close()
		lease := must(t.c.Grant(t.ctx, 2)).ID
		for i := range 20 {
			made := must(k.Kubernetes.OptimisticPut(t.ctx, fmt.Sprint("/registry/events/", i), []byte("event"), 0, kubernetes.PutOptions{LeaseID: lease}))
			t.holds(made.Succeeded, "event %d", i)
		}
		same(t, "events", must(k.Kubernetes.Count(t.ctx, "/registry/events/", kubernetes.CountOptions{})), 20)
		t.eventually("they expire", func() bool {
			return must(k.Kubernetes.Count(t.ctx, "/registry/events/", kubernetes.CountOptions{})) == 0
		})
	}},
	{"kubernetes: every endpoint's Status allows what the API server looks for", func(t *T) {
		for _, endpoint := range endpoints() {
			status := must(t.c.Status(t.ctx, endpoint))
			version := must(semver.NewVersion(status.Version))
			t.holds(!version.LessThan(*semver.New("3.5.13")), "version %s turns RequestWatchProgress off", version)
			t.holds(status.DbSize > 0, "no size")
		}
	}},
}

// sameKvs wants the same keys, values and revisions.
func sameKvs(t *T, what string, got, wanted []*mvccpb.KeyValue) {
	lines := func(kvs []*mvccpb.KeyValue) string {
		var all []string
		for _, kv := range kvs {
			all = append(all, fmt.Sprintf("%s=%s %d %d %d", kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version))
		}
		return strings.Join(all, "\n")
	}
	same(t, what, lines(got), lines(wanted))
}
