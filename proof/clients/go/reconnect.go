package main

import (
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// member is the number by which the leader's endpoint is killed and started.
func number(endpoint string) int {
	for i, one := range endpoints() {
		if one == endpoint {
			return i + 1
		}
	}
	return 0
}

var reconnectChecks = []check{
	{"reconnect: writes and reads go on when the leader is killed", func(t *T) {
		_, at := t.leader()
		n := number(at)
		t.control(fmt.Sprint("kill ", n))
		for i := range 20 {
			// A write may have been lost with the leader; whoever sends it again is a user.
			t.eventually("a put", func() bool {
				_, err := t.c.Put(t.ctx, fmt.Sprint("reconnect/kv/", i), "v")
				return err == nil
			})
		}
		same(t, "keys", t.get("reconnect/kv/", clientv3.WithPrefix()).Count, 20)
		t.control(fmt.Sprint("start ", n))
	}},
	{"reconnect: a watch goes on where it was, without a gap or a repeat", func(t *T) {
		// A client of one member: it can go nowhere else.
		lonely := t.client(endpoints()[1])
		defer lonely.Close()
		others := t.client(endpoints()[0], endpoints()[2])
		defer others.Close()
		ch := lonely.Watch(t.ctx, "reconnect/watch", clientv3.WithCreatedNotify())
		t.next(ch)
		put := func(i int) {
			t.eventually("a put", func() bool {
				_, err := others.Put(t.ctx, "reconnect/watch", fmt.Sprint(i))
				return err == nil
			})
		}
		put(0)
		same(t, "before", string(t.events(ch, 1)[0].Kv.Value), "0")
		t.control("kill 2")
		for i := 1; i <= 10; i++ {
			put(i)
		}
		t.control("start 2")
		put(11)
		var values []string
		last := int64(0)
		for len(values) == 0 || values[len(values)-1] != "11" {
			for _, event := range t.events1(ch) {
				t.holds(event.Kv.ModRevision > last, "revision %d after %d", event.Kv.ModRevision, last)
				last = event.Kv.ModRevision
				// A put that was sent again is there twice.
				if n := len(values); n == 0 || values[n-1] != string(event.Kv.Value) {
					values = append(values, string(event.Kv.Value))
				}
			}
		}
		same(t, "after", values, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"})
	}},
	{"reconnect: a session outlives the member that it spoke to", func(t *T) {
		c := t.client()
		defer c.Close()
		session := must(concurrency.NewSession(c, concurrency.WithTTL(10)))
		defer session.Close()
		mutex := concurrency.NewMutex(session, "reconnect/lock")
		t.ok(mutex.Lock(t.ctx))
		_, at := t.leader()
		n := number(at)
		t.control(fmt.Sprint("kill ", n))
		t.eventually("a put", func() bool {
			_, err := c.Put(t.ctx, "reconnect/session", "v")
			return err == nil
		})
		t.control(fmt.Sprint("start ", n))
		select {
		case <-session.Done():
			t.fail("the session ended")
		case <-time.After(12 * time.Second):
		}
		t.holds(must(c.Txn(t.ctx).If(mutex.IsOwner()).Then(clientv3.OpGet("none")).Commit()).Succeeded, "the lock is lost")
		t.ok(mutex.Unlock(t.ctx))
	}},
}

// events1 reads one response.
func (t *T) events1(ch clientv3.WatchChan) []*clientv3.Event {
	response := t.next(ch)
	t.ok(response.Err())
	return response.Events
}
