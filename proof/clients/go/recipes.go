package main

import (
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/client/v3/experimental/recipes"
)

var recipeChecks = []check{
	{"recipes: a barrier holds until it is released", func(t *T) {
		barrier := recipe.NewBarrier(t.c, "recipes/barrier")
		t.ok(barrier.Hold())
		said := make(chan error, 1)
		go func() { said <- recipe.NewBarrier(t.c, "recipes/barrier").Wait() }()
		t.ok(barrier.Release())
		t.ok(<-said)
	}},
	{"recipes: a double barrier lets all in together and out together", func(t *T) {
		var all sync.WaitGroup
		errs := make(chan error, 3)
		for range 3 {
			all.Add(1)
			go func() {
				defer all.Done()
				session, err := concurrency.NewSession(t.c)
				if err == nil {
					barrier := recipe.NewDoubleBarrier(session, "recipes/double", 3)
					if err = barrier.Enter(); err == nil {
						err = barrier.Leave()
					}
					session.Close()
				}
				if err != nil {
					errs <- err
				}
			}()
		}
		all.Wait()
		close(errs)
		t.ok(<-errs)
	}},
	{"recipes: a queue gives in order what was put into it", func(t *T) {
		queue := recipe.NewQueue(t.c, "recipes/queue")
		for _, value := range []string{"a", "b", "c"} {
			t.ok(queue.Enqueue(value))
		}
		for _, value := range []string{"a", "b", "c"} {
			same(t, "taken", must(queue.Dequeue()), value)
		}
	}},
	{"recipes: a queue with priorities", func(t *T) {
		queue := recipe.NewPriorityQueue(t.c, "recipes/priority")
		t.ok(queue.Enqueue("late", 9))
		t.ok(queue.Enqueue("first", 1))
		t.ok(queue.Enqueue("second", 1))
		for _, value := range []string{"first", "second", "late"} {
			same(t, "taken", must(queue.Dequeue()), value)
		}
	}},
	{"recipes: a lock of readers and writers", func(t *T) {
		one, two, three := t.session(), t.session(), t.session()
		defer one.Close()
		defer two.Close()
		defer three.Close()
		reader, other, writer := recipe.NewRWMutex(one, "recipes/rw"), recipe.NewRWMutex(two, "recipes/rw"), recipe.NewRWMutex(three, "recipes/rw")
		t.ok(reader.RLock())
		t.ok(other.RLock())
		said := make(chan error)
		go func() { said <- writer.Lock() }()
		t.eventually("the writer stands in line", func() bool {
			return t.get("recipes/rw/", clientv3.WithPrefix()).Count == 3
		})
		t.ok(reader.RUnlock())
		select {
		case <-said:
			t.fail("the writer entered beside a reader")
		default:
		}
		t.ok(other.RUnlock())
		t.ok(<-said)
		t.ok(writer.Unlock())
	}},
}
