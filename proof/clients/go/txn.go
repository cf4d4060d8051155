package main

import (
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/clientv3util"
)

// passes says whether these comparisons hold. The get makes the answer linearizable: comparisons alone are
// answered by whichever member is asked, as far as it is.
func (t *T) passes(cmps ...clientv3.Cmp) bool {
	return must(t.c.Txn(t.ctx).If(cmps...).Then(clientv3.OpGet("none")).Commit()).Succeeded
}

var txnChecks = []check{
	{"txn: then or else, at one revision", func(t *T) {
		before := t.put("txn/a", "1")
		yes := must(t.c.Txn(t.ctx).
			If(clientv3.Compare(clientv3.Value("txn/a"), "=", "1")).
			Then(clientv3.OpPut("txn/a", "2"), clientv3.OpPut("txn/b", "2"), clientv3.OpGet("txn/", clientv3.WithPrefix())).
			Else(clientv3.OpGet("txn/a")).
			Commit())
		t.holds(yes.Succeeded, "it failed")
		same(t, "one revision", yes.Header.Revision, before+1)
		kvs := yes.Responses[2].GetResponseRange().Kvs
		same(t, "it sees its own puts", keys(kvs), "txn/a txn/b")
		same(t, "of one revision", kvs[0].ModRevision, kvs[1].ModRevision)
		no := must(t.c.Txn(t.ctx).
			If(clientv3.Compare(clientv3.Value("txn/a"), "=", "1")).
			Then(clientv3.OpDelete("txn/a")).
			Else(clientv3.OpGet("txn/a")).
			Commit())
		t.holds(!no.Succeeded, "it succeeded")
		same(t, "else", string(no.Responses[0].GetResponseRange().Kvs[0].Value), "2")
		same(t, "a look takes no revision", no.Header.Revision, yes.Header.Revision)
	}},
	{"txn: every target and every operator compares", func(t *T) {
		lease := must(t.c.Grant(t.ctx, 600)).ID
		rev := t.put("txn/cmp", "m", clientv3.WithLease(lease))
		for i, target := range []struct {
			cmp               clientv3.Cmp
			less, equal, more any
		}{
			{clientv3.Value("txn/cmp"), "l", "m", "n"},
			{clientv3.Version("txn/cmp"), 0, 1, 2},
			{clientv3.CreateRevision("txn/cmp"), rev - 1, rev, rev + 1},
			{clientv3.ModRevision("txn/cmp"), rev - 1, rev, rev + 1},
			{clientv3.LeaseValue("txn/cmp"), lease - 1, lease, lease + 1},
		} {
			for _, one := range []struct {
				operator string
				value    any
				wanted   bool
			}{
				{"=", target.equal, true}, {"=", target.more, false},
				{"!=", target.more, true}, {"!=", target.equal, false},
				{">", target.less, true}, {">", target.equal, false},
				{"<", target.more, true}, {"<", target.equal, false},
			} {
				cmp := clientv3.Compare(target.cmp, one.operator, one.value)
				what := fmt.Sprintf("target %d %s %v", i, one.operator, one.value)
				same(t, what, t.passes(cmp), one.wanted)
			}
		}
	}},
	{"txn: a comparison over a range holds for all of it", func(t *T) {
		t.put("txn/r/a", "v")
		t.put("txn/r/b", "v")
		all := clientv3.Compare(clientv3.Value("txn/r/"), "=", "v").WithPrefix()
		t.holds(t.passes(all), "all are v")
		t.put("txn/r/c", "w")
		t.holds(!t.passes(all), "one is not v")
		t.holds(t.passes(clientv3.Compare(clientv3.Version("txn/empty/"), "=", 0).WithPrefix()), "an empty range has version 0")
	}},
	{"txn: a key exists, or is missing", func(t *T) {
		t.put("txn/is", "v")
		t.holds(t.passes(clientv3util.KeyExists("txn/is"), clientv3util.KeyMissing("txn/is/not")), "it is there")
		t.holds(!t.passes(clientv3util.KeyMissing("txn/is")), "it is not missing")
		t.holds(!t.passes(clientv3.Compare(clientv3.Value("txn/is/not"), "!=", "v")), "no value of a missing key compares")
	}},
	{"txn: transactions nest, and compare what was there before", func(t *T) {
		t.put("txn/n", "old")
		inner := clientv3.OpTxn(
			[]clientv3.Cmp{clientv3.Compare(clientv3.Value("txn/n"), "=", "old")},
			[]clientv3.Op{clientv3.OpPut("txn/n/inner", "then")},
			[]clientv3.Op{clientv3.OpPut("txn/n/inner", "else")},
		)
		answer := must(t.c.Txn(t.ctx).Then(clientv3.OpPut("txn/n", "new"), inner).Commit())
		t.holds(answer.Responses[1].GetResponseTxn().Succeeded, "the inner comparison saw the outer put")
		same(t, "inner", t.value("txn/n/inner"), "then")
	}},
	{"txn: refusals leave nothing behind", func(t *T) {
		_, err := t.c.Txn(t.ctx).Then(clientv3.OpPut("txn/dup", "1"), clientv3.OpPut("txn/dup", "2")).Commit()
		t.is(err, rpctypes.ErrDuplicateKey)
		var many []clientv3.Op
		for i := range 129 {
			many = append(many, clientv3.OpPut(fmt.Sprint("txn/many/", i), ""))
		}
		_, err = t.c.Txn(t.ctx).Then(many...).Commit()
		t.is(err, rpctypes.ErrTooManyOps)
		must(t.c.Txn(t.ctx).Then(many[:128]...).Commit())
		// Not here: a put and then a get of the future in one transaction. It makes the members of etcd 3.6.16 diverge.
		same(t, "a refused one", t.get("txn/dup").Count, 0)
	}},
}
