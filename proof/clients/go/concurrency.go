package main

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// session of a client of its own, so that both can end.
func (t *T) session(opts ...concurrency.SessionOption) *concurrency.Session {
	return must(concurrency.NewSession(t.c, append([]concurrency.SessionOption{concurrency.WithTTL(10)}, opts...)...))
}

var concurrencyChecks = []check{
	{"lock: one holds it, the others wait for their turn", func(t *T) {
		var inside, most, entries atomic.Int32
		var all sync.WaitGroup
		errs := make(chan error, 100)
		for range 5 {
			all.Add(1)
			go func() {
				defer all.Done()
				session, err := concurrency.NewSession(t.c, concurrency.WithTTL(30))
				if err != nil {
					errs <- err
					return
				}
				defer session.Close()
				mutex := concurrency.NewMutex(session, "lock/crowd")
				for range 5 {
					if err := mutex.Lock(t.ctx); err != nil {
						errs <- err
						return
					}
					most.Store(max(most.Load(), inside.Add(1)))
					entries.Add(1)
					inside.Add(-1)
					if err := mutex.Unlock(t.ctx); err != nil {
						errs <- err
						return
					}
				}
			}()
		}
		all.Wait()
		close(errs)
		t.ok(<-errs)
		same(t, "at a time", most.Load(), 1)
		same(t, "entries", entries.Load(), 25)
	}},
	{"lock: who only tries is told that it is held", func(t *T) {
		one, two := t.session(), t.session()
		defer one.Close()
		defer two.Close()
		held, tried := concurrency.NewMutex(one, "lock/try"), concurrency.NewMutex(two, "lock/try")
		t.ok(held.TryLock(t.ctx))
		t.is(tried.TryLock(t.ctx), concurrency.ErrLocked)
		t.ok(held.Unlock(t.ctx))
		t.ok(tried.TryLock(t.ctx))
		t.is(held.Unlock(t.ctx), concurrency.ErrLockReleased)
	}},
	{"lock: a waiter who gives up leaves the line", func(t *T) {
		one, two := t.session(), t.session()
		defer one.Close()
		defer two.Close()
		held, waiting := concurrency.NewMutex(one, "lock/up"), concurrency.NewMutex(two, "lock/up")
		t.ok(held.Lock(t.ctx))
		ctx, cancel := context.WithCancel(t.ctx)
		said := make(chan error)
		go func() { said <- waiting.Lock(ctx) }()
		t.eventually("two in line", func() bool { return t.get("lock/up/", clientv3.WithPrefix()).Count == 2 })
		cancel()
		t.is(<-said, context.Canceled)
		t.eventually("one in line", func() bool { return t.get("lock/up/", clientv3.WithPrefix()).Count == 1 })
	}},
	{"lock: the holder's session ends, and the next holds it", func(t *T) {
		one, two := t.session(), t.session()
		defer two.Close()
		held, next := concurrency.NewMutex(one, "lock/end"), concurrency.NewMutex(two, "lock/end")
		t.ok(held.Lock(t.ctx))
		said := make(chan error)
		go func() { said <- next.Lock(t.ctx) }()
		t.eventually("two in line", func() bool { return t.get("lock/end/", clientv3.WithPrefix()).Count == 2 })
		t.ok(one.Close())
		t.ok(<-said)
		<-one.Done()
	}},
	{"lock: an owner's transaction is fenced", func(t *T) {
		one := t.session()
		mutex := concurrency.NewMutex(one, "lock/fence")
		t.ok(mutex.Lock(t.ctx))
		t.holds(t.passes(mutex.IsOwner()), "the holder is not the owner")
		t.holds(mutex.Header().Revision > 0 && mutex.Key() != "", "no key")
		t.ok(one.Close())
		t.holds(!t.passes(mutex.IsOwner()), "it is the owner though its session is over")
	}},
	{"lock: a session that is orphaned holds on until its lease ends", func(t *T) {
		one := t.session(concurrency.WithTTL(2))
		mutex := concurrency.NewMutex(one, "lock/orphan")
		t.ok(mutex.Lock(t.ctx))
		one.Orphan()
		two := t.session()
		defer two.Close()
		next := concurrency.NewMutex(two, "lock/orphan")
		t.is(next.TryLock(t.ctx), concurrency.ErrLocked)
		t.ok(next.Lock(t.ctx))
	}},
	{"lock: as a sync.Locker", func(t *T) {
		one := t.session()
		defer one.Close()
		locker := concurrency.NewLocker(one, "lock/locker")
		locker.Lock()
		locker.Unlock()
	}},
	{"election: one leads, proclaims and resigns, the next leads", func(t *T) {
		one, two := t.session(), t.session()
		defer one.Close()
		defer two.Close()
		first, second := concurrency.NewElection(one, "election/a"), concurrency.NewElection(two, "election/a")
		_, err := first.Leader(t.ctx)
		t.is(err, concurrency.ErrElectionNoLeader)
		t.ok(first.Campaign(t.ctx, "one"))
		said := make(chan error)
		go func() { said <- second.Campaign(t.ctx, "two") }()
		t.eventually("two in line", func() bool { return t.get("election/a/", clientv3.WithPrefix()).Count == 2 })
		same(t, "leader", string(must(second.Leader(t.ctx)).Kvs[0].Value), "one")
		t.ok(first.Proclaim(t.ctx, "still one"))
		same(t, "leader", string(must(second.Leader(t.ctx)).Kvs[0].Value), "still one")
		t.ok(first.Resign(t.ctx))
		t.ok(<-said)
		same(t, "leader", string(must(first.Leader(t.ctx)).Kvs[0].Value), "two")
		t.holds(second.Rev() > 0 && second.Key() != "", "no key")
		t.is(first.Proclaim(t.ctx, "late"), concurrency.ErrElectionNotLeader)
	}},
	{"election: observers see every leader", func(t *T) {
		one := t.session()
		defer one.Close()
		election := concurrency.NewElection(one, "election/o")
		ctx, cancel := context.WithCancel(t.ctx)
		defer cancel()
		seen := election.Observe(ctx)
		for _, value := range []string{"one", "two", "three"} {
			t.ok(election.Campaign(t.ctx, value))
			same(t, "observed", string((<-seen).Kvs[0].Value), value)
			t.ok(election.Proclaim(t.ctx, value+"!"))
			same(t, "observed", string((<-seen).Kvs[0].Value), value+"!")
			t.ok(election.Resign(t.ctx))
		}
	}},
	{"election: a leader that comes back resumes", func(t *T) {
		one := t.session()
		defer one.Close()
		election := concurrency.NewElection(one, "election/r")
		t.ok(election.Campaign(t.ctx, "before"))
		again := must(concurrency.NewSession(t.c, concurrency.WithLease(one.Lease())))
		defer again.Close()
		resumed := concurrency.ResumeElection(again, "election/r", election.Key(), election.Rev())
		t.ok(resumed.Proclaim(t.ctx, "after"))
		same(t, "leader", string(must(resumed.Leader(t.ctx)).Kvs[0].Value), "after")
	}},
	{"election: a leader whose session ends leads no more", func(t *T) {
		one, two := t.session(), t.session()
		defer two.Close()
		first, second := concurrency.NewElection(one, "election/s"), concurrency.NewElection(two, "election/s")
		t.ok(first.Campaign(t.ctx, "one"))
		t.ok(one.Close())
		t.ok(second.Campaign(t.ctx, "two"))
		same(t, "leader", string(must(second.Leader(t.ctx)).Kvs[0].Value), "two")
	}},
	{"stm: counters that many raise lose nothing, at every isolation", func(t *T) {
		for _, isolation := range []concurrency.Isolation{
			concurrency.SerializableSnapshot, concurrency.Serializable, concurrency.RepeatableReads,
		} {
			key := "stm/" + strconv.Itoa(int(isolation))
			var all sync.WaitGroup
			errs := make(chan error, 10)
			for range 4 {
				all.Add(1)
				go func() {
					defer all.Done()
					for range 5 {
						_, err := concurrency.NewSTM(t.c, func(stm concurrency.STM) error {
							n, _ := strconv.Atoi(stm.Get(key))
							stm.Put(key, strconv.Itoa(n+1))
							return nil
						}, concurrency.WithIsolation(isolation), concurrency.WithAbortContext(t.ctx))
						if err != nil {
							errs <- err
							return
						}
					}
				}()
			}
			all.Wait()
			close(errs)
			t.ok(<-errs)
			same(t, key, t.value(key), "20")
		}
	}},
	{"stm: reads, writes and deletes its own, with prefetched keys; an error undoes all", func(t *T) {
		t.put("stm/from", "100")
		_, err := concurrency.NewSTM(t.c, func(stm concurrency.STM) error {
			stm.Put("stm/to", stm.Get("stm/from"))
			stm.Del("stm/from")
			if stm.Get("stm/to") != "100" || stm.Get("stm/from") != "" || stm.Rev("stm/to") != 0 {
				return errors.New("it does not see what it wrote")
			}
			return nil
		}, concurrency.WithPrefetch("stm/from", "stm/to"))
		t.ok(err)
		same(t, "from", t.get("stm/from").Count, 0)
		same(t, "to", t.value("stm/to"), "100")
		refused := errors.New("no")
		_, err = concurrency.NewSTM(t.c, func(stm concurrency.STM) error {
			stm.Put("stm/to", "gone")
			return refused
		})
		t.is(err, refused)
		same(t, "to", t.value("stm/to"), "100")
	}},
}
