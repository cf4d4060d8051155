package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// next response of a watch.
func (t *T) next(ch clientv3.WatchChan) clientv3.WatchResponse {
	select {
	case response, open := <-ch:
		t.holds(open, "the watch is over")
		return response
	case <-time.After(patience):
		t.fail("the watch is silent for %v", patience)
	case <-t.ctx.Done():
		t.fail("the watch is silent: %v", t.ctx.Err())
	}
	return clientv3.WatchResponse{}
}

// events reads this many events.
func (t *T) events(ch clientv3.WatchChan, n int) (events []*clientv3.Event) {
	for len(events) < n {
		response := t.next(ch)
		t.ok(response.Err())
		events = append(events, response.Events...)
	}
	same(t, "how many events", len(events), n)
	return events
}

// told of events: `create k=v`, `modify k=v`, `delete k`, with what was there before.
func told(events []*clientv3.Event) string {
	var words []string
	for _, event := range events {
		word := fmt.Sprintf("modify %s=%s", event.Kv.Key, event.Kv.Value)
		if event.IsCreate() {
			word = fmt.Sprintf("create %s=%s", event.Kv.Key, event.Kv.Value)
		} else if event.Type == clientv3.EventTypeDelete {
			word = fmt.Sprintf("delete %s", event.Kv.Key)
		}
		if event.PrevKv != nil {
			word += fmt.Sprintf(" was %s", event.PrevKv.Value)
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

var watchChecks = []check{
	{"watch: history and then the present, in order", func(t *T) {
		first := t.put("watch/h/a", "1")
		t.put("watch/h/a", "2")
		must(t.c.Delete(t.ctx, "watch/h/a"))
		ch := t.c.Watch(t.ctx, "watch/h/", clientv3.WithPrefix(), clientv3.WithRev(first))
		same(t, "history", told(t.events(ch, 3)), "create watch/h/a=1, modify watch/h/a=2, delete watch/h/a")
		last := t.put("watch/h/b", "3")
		now := t.events(ch, 1)
		same(t, "now", told(now), "create watch/h/b=3")
		same(t, "its revision", now[0].Kv.ModRevision, last)
	}},
	{"watch: what was there before", func(t *T) {
		first := t.put("watch/p", "1")
		t.put("watch/p", "2")
		must(t.c.Delete(t.ctx, "watch/p"))
		ch := t.c.Watch(t.ctx, "watch/p", clientv3.WithPrevKV(), clientv3.WithRev(first))
		same(t, "events", told(t.events(ch, 3)), "create watch/p=1, modify watch/p=2 was 1, delete watch/p was 2")
	}},
	{"watch: only puts, only deletes", func(t *T) {
		first := t.put("watch/f", "1")
		must(t.c.Delete(t.ctx, "watch/f"))
		t.put("watch/f", "2")
		puts := t.c.Watch(t.ctx, "watch/f", clientv3.WithFilterDelete(), clientv3.WithRev(first))
		same(t, "puts", told(t.events(puts, 2)), "create watch/f=1, create watch/f=2")
		deletes := t.c.Watch(t.ctx, "watch/f", clientv3.WithFilterPut(), clientv3.WithRev(first))
		same(t, "deletes", told(t.events(deletes, 1)), "delete watch/f")
	}},
	{"watch: all events of a transaction come together", func(t *T) {
		ch := t.c.Watch(t.ctx, "watch/t/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		t.holds(t.next(ch).Created, "created comes first")
		must(t.c.Txn(t.ctx).Then(clientv3.OpPut("watch/t/a", "1"), clientv3.OpPut("watch/t/b", "1"), clientv3.OpPut("watch/t/c", "1")).Commit())
		same(t, "events in one response", len(t.next(ch).Events), 3)
	}},
	{"watch: a big revision comes in fragments and is put together", func(t *T) {
		ch := t.c.Watch(t.ctx, "watch/big/", clientv3.WithPrefix(), clientv3.WithFragment(), clientv3.WithCreatedNotify())
		t.holds(t.next(ch).Created, "created comes first")
		var from int64
		for i := range 5 {
			rev := t.put(fmt.Sprint("watch/big/", i), strings.Repeat("x", 1_000_000))
			if i == 0 {
				from = rev
			}
		}
		t.events(ch, 5)
		again := t.c.Watch(t.ctx, "watch/big/", clientv3.WithPrefix(), clientv3.WithFragment(), clientv3.WithRev(from))
		t.events(again, 5)
	}},
	{"watch: progress on demand tells how far it is", func(t *T) {
		ctx, cancel := context.WithCancel(t.ctx)
		defer cancel()
		ch := t.c.Watch(ctx, "watch/progress", clientv3.WithCreatedNotify())
		t.holds(t.next(ch).Created, "created comes first")
		rev := t.put("watch/elsewhere", "1")
		// While the member is behind, etcd answers nothing: ask again.
		t.eventually("progress", func() bool {
			t.ok(t.c.RequestProgress(ctx))
			select {
			case response := <-ch:
				t.holds(response.IsProgressNotify(), "not progress: %v", response)
				return response.Header.Revision >= rev
			case <-time.After(200 * time.Millisecond):
				return false
			}
		})
	}},
	{"watch: below the compacted revision it ends and says from where on", func(t *T) {
		old := t.put("watch/c", "1")
		now := t.put("watch/c", "2")
		must(t.c.Compact(t.ctx, now))
		var response clientv3.WatchResponse
		// The member that is asked may hear of the compaction a little later; until then it has the history.
		t.eventually("it does not go on", func() bool {
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			response = t.next(t.c.Watch(ctx, "watch/c", clientv3.WithRev(old)))
			return response.Canceled
		})
		t.is(response.Err(), rpctypes.ErrCompacted)
		same(t, "compacted", response.CompactRevision, now)
		ch := t.c.Watch(t.ctx, "watch/c", clientv3.WithRev(now))
		same(t, "from there on", told(t.events(ch, 1)), "modify watch/c=2")
	}},
	{"watch: one that is cancelled ends, the others on its stream go on", func(t *T) {
		ctx, cancel := context.WithCancel(t.ctx)
		one := t.c.Watch(ctx, "watch/x", clientv3.WithCreatedNotify())
		other := t.c.Watch(t.ctx, "watch/x", clientv3.WithCreatedNotify())
		t.next(one)
		t.next(other)
		cancel()
		t.eventually("its channel closes", func() bool {
			select {
			case _, open := <-one:
				return !open
			default:
				return false
			}
		})
		t.put("watch/x", "1")
		same(t, "the other", told(t.events(other, 1)), "create watch/x=1")
	}},
	{"watch: a hundred watches on one stream each see their own key", func(t *T) {
		var all []clientv3.WatchChan
		for i := range 100 {
			all = append(all, t.c.Watch(t.ctx, fmt.Sprint("watch/many/", i), clientv3.WithCreatedNotify()))
		}
		for _, ch := range all {
			t.next(ch)
		}
		for i := range 100 {
			t.put(fmt.Sprint("watch/many/", i), "v")
		}
		for i, ch := range all {
			same(t, "event", told(t.events(ch, 1)), fmt.Sprintf("create watch/many/%d=v", i))
		}
	}},
	{"watch: from a revision of the future it is silent until then", func(t *T) {
		now := t.put("watch/future", "1")
		ch := t.c.Watch(t.ctx, "watch/future", clientv3.WithRev(now+2), clientv3.WithCreatedNotify())
		t.holds(t.next(ch).Created, "created comes first")
		t.put("watch/future", "2")
		t.put("watch/future", "3")
		same(t, "the first event", told(t.events(ch, 1)), "modify watch/future=3")
	}},
}
