package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/snapshot"
	"go.uber.org/zap"
)

// leader is the id of the leader and the endpoint where it answers.
func (t *T) leader() (id uint64, at string) {
	t.eventually("a leader", func() bool {
		for _, endpoint := range endpoints() {
			status, err := t.c.Status(t.ctx, endpoint)
			if err == nil && status.Leader != 0 && status.Leader == status.Header.MemberId {
				id, at = status.Leader, endpoint
				return true
			}
		}
		return false
	})
	return id, at
}

// snap reads a whole snapshot.
func (t *T) snap() []byte {
	answer := must(t.c.SnapshotWithVersion(t.ctx))
	defer answer.Snapshot.Close()
	t.holds(answer.Version != "", "no version")
	return must(io.ReadAll(answer.Snapshot))
}

var operationChecks = []check{
	{"cluster: three members, each with its addresses", func(t *T) {
		list := must(t.c.MemberList(t.ctx)).Members
		same(t, "members", len(list), 3)
		var urls []string
		for _, member := range list {
			t.holds(member.ID != 0 && member.Name != "" && len(member.PeerURLs) == 1 && !member.IsLearner, "member: %v", member)
			urls = append(urls, member.ClientURLs...)
		}
		wanted := endpoints()
		slices.Sort(urls)
		slices.Sort(wanted)
		same(t, "urls", urls, wanted)
		t.ok(t.c.Sync(t.ctx))
	}},
	{"cluster: a learner comes, moves and goes", func(t *T) {
		_, at := t.leader()
		c := t.client(at)
		defer c.Close()
		// A cluster takes a member once all voters have seen each other for five seconds.
		var added *clientv3.MemberAddResponse
		t.eventually("the cluster takes a member", func() bool {
			var err error
			added, err = c.MemberAddAsLearner(t.ctx, []string{"http://127.0.0.1:1"})
			return err == nil
		})
		learner := added.Member
		t.holds(learner.IsLearner && learner.ID != 0, "learner: %v", learner)
		_, err := c.MemberPromote(t.ctx, learner.ID)
		t.is(err, rpctypes.ErrMemberLearnerNotReady)
		must(c.MemberUpdate(t.ctx, learner.ID, []string{"http://127.0.0.1:2"}))
		_, err = c.MemberAddAsLearner(t.ctx, []string{"http://127.0.0.1:2"})
		t.is(err, rpctypes.ErrPeerURLExist)
		same(t, "members", len(must(c.MemberRemove(t.ctx, learner.ID)).Members), 3)
		_, err = c.MemberRemove(t.ctx, learner.ID)
		t.is(err, rpctypes.ErrMemberNotFound)
	}},
	{"maintenance: every member's status", func(t *T) {
		t.put("maintenance/a", "1")
		for _, endpoint := range endpoints() {
			status := must(t.c.Status(t.ctx, endpoint))
			t.holds(status.Version != "" && status.Leader != 0 && status.RaftTerm > 0 && status.RaftIndex > 0 &&
				status.RaftAppliedIndex > 0 && status.DbSizeInUse > 0 && len(status.Errors) == 0, "status: %v", status)
		}
	}},
	{"maintenance: equal hashes on all members at one revision", func(t *T) {
		rev := t.put("maintenance/hash", "1")
		seen := map[string]bool{}
		for _, endpoint := range endpoints() {
			t.eventually("the member is there", func() bool {
				_, err := t.c.HashKV(t.ctx, endpoint, rev)
				return err == nil
			})
			hash := must(t.c.HashKV(t.ctx, endpoint, rev))
			seen[fmt.Sprint(hash.Hash, hash.CompactRevision, hash.HashRevision)] = true
		}
		same(t, "different hashes", len(seen), 1)
	}},
	{"maintenance: a member is defragmented and serves", func(t *T) {
		must(t.c.Defragment(t.ctx, endpoints()[0]))
		t.put("maintenance/defragmented", "1")
	}},
	{"maintenance: no alarms", func(t *T) {
		same(t, "alarms", len(must(t.c.AlarmList(t.ctx)).Alarms), 0)
		must(t.c.AlarmDisarm(t.ctx, &clientv3.AlarmMember{}))
	}},
	{"maintenance: the leader moves where it is told", func(t *T) {
		id, at := t.leader()
		var other uint64
		for _, member := range must(t.c.MemberList(t.ctx)).Members {
			if member.ID != id {
				other = member.ID
			}
		}
		c := t.client(at)
		defer c.Close()
		must(c.MoveLeader(t.ctx, other))
		t.eventually("it leads", func() bool {
			id, _ := t.leader()
			return id == other
		})
		t.eventually("the old one refuses", func() bool {
			_, err := c.MoveLeader(t.ctx, id)
			return err != nil && err.Error() == rpctypes.ErrNotLeader.Error()
		})
	}},
	{"maintenance: a snapshot ends with its SHA-256", func(t *T) {
		t.put("maintenance/snapshot", "1")
		all := t.snap()
		t.holds(len(all) > sha256.Size, "%d bytes", len(all))
		body, sum := all[:len(all)-sha256.Size], all[len(all)-sha256.Size:]
		wanted := sha256.Sum256(body)
		t.holds(bytes.Equal(sum, wanted[:]), "it does not")
		file := filepath.Join(must(os.MkdirTemp("", "snapshot")), "db")
		defer os.RemoveAll(filepath.Dir(file))
		ctx, cancel := context.WithTimeout(t.ctx, time.Minute)
		defer cancel()
		version := must(snapshot.SaveWithVersion(ctx, zap.NewNop(), config(endpoints()[0]), file))
		t.holds(version != "", "no version")
	}},
	{"snapshot: it is a file of bbolt", func(t *T) {
		same(t, "magic", binary.LittleEndian.Uint32(t.snap()[16:]), 0xED0CDAED)
	}},
}
