//go:build next

package main

import (
	"os"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// stream reads a range as the API server does: as a stream, or in one answer from a server that has no streams.
func (t *T) stream(key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ch, err := t.c.GetStream(t.ctx, key, opts...)
	t.ok(err)
	got, err := clientv3.GetStreamToGetResponse(ch)
	isUnknown := status.Code(err) == codes.Unimplemented || rpctypes.Error(err) != nil && status.Code(rpctypes.Error(err)) == codes.Unimplemented
	if isUnknown && os.Getenv("CLIENTS_RANGE_STREAM") != "yes" {
		return t.c.Get(t.ctx, key, opts...)
	}
	return got, err
}

var nextChecks = []check{
	{"range stream: says what a range says", func(t *T) {
		t.pods("/registry/stream/", 1200)
		wanted := t.get("/registry/stream/", clientv3.WithPrefix())
		t.put("/registry/stream/pod-00000", "changed")
		got := must(t.stream("/registry/stream/", clientv3.WithPrefix(), clientv3.WithRev(wanted.Header.Revision)))
		sameKvs(t, "objects", got.Kvs, wanted.Kvs)
		same(t, "count", got.Count, 1200)
		t.holds(!got.More && got.Header.Revision > wanted.Header.Revision, "the end: %v", got.Header)
	}},
	{"range stream: pages, counts and keys only", func(t *T) {
		t.pods("/registry/page/", 50)
		page := must(t.stream("/registry/page/", clientv3.WithPrefix(), clientv3.WithLimit(30)))
		t.holds(len(page.Kvs) == 30 && page.More && page.Count == 50, "page: %d of %d", len(page.Kvs), page.Count)
		count := must(t.stream("/registry/page/", clientv3.WithPrefix(), clientv3.WithCountOnly()))
		t.holds(len(count.Kvs) == 0 && count.Count == 50, "count: %d of %d", len(count.Kvs), count.Count)
		only := must(t.stream("/registry/page/", clientv3.WithPrefix(), clientv3.WithKeysOnly()))
		t.holds(len(only.Kvs) == 50 && len(only.Kvs[0].Value) == 0, "keys: %d", len(only.Kvs))
	}},
	{"range stream: the past that is gone and the future are refused", func(t *T) {
		old := t.put("/registry/gone", "1")
		now := t.put("/registry/gone", "2")
		must(t.c.Compact(t.ctx, now))
		_, err := t.stream("/registry/gone", clientv3.WithRev(old))
		t.is(rpctypes.Error(err), rpctypes.ErrCompacted)
		_, err = t.stream("/registry/gone", clientv3.WithRev(now+1000))
		t.is(rpctypes.Error(err), rpctypes.ErrFutureRev)
	}},
}
