package main

import (
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// as is a client of a user.
func (t *T) as(user, password string) *clientv3.Client {
	return must(tryAs(user, password))
}

// One member, because a token may be younger than what another has applied.
func tryAs(user, password string) (*clientv3.Client, error) {
	c := config(endpoints()[0])
	c.Username, c.Password = user, password
	return clientv3.New(c)
}

func (t *T) root() *clientv3.Client { return t.as("root", "secret") }

var authChecks = []check{
	{"auth: cannot be enabled without a root user who has the root role", func(t *T) {
		same(t, "enabled", must(t.c.AuthStatus(t.ctx)).Enabled, false)
		_, err := t.c.AuthEnable(t.ctx)
		t.is(err, rpctypes.ErrRootUserNotExist)
		must(t.c.UserAdd(t.ctx, "root", "secret"))
		_, err = t.c.AuthEnable(t.ctx)
		t.is(err, rpctypes.ErrRootRoleNotExist)
		_, err = t.c.Authenticate(t.ctx, "root", "secret")
		t.is(err, rpctypes.ErrAuthNotEnabled)
	}},
	{"auth: users and roles are made, listed and refused twice", func(t *T) {
		must(t.c.RoleAdd(t.ctx, "root"))
		must(t.c.UserGrantRole(t.ctx, "root", "root"))
		must(t.c.RoleAdd(t.ctx, "reader"))
		must(t.c.RoleGrantPermission(t.ctx, "reader", "auth/read/", clientv3.GetPrefixRangeEnd("auth/read/"), clientv3.PermissionType(clientv3.PermRead)))
		must(t.c.RoleGrantPermission(t.ctx, "reader", "auth/own", "", clientv3.PermissionType(clientv3.PermReadWrite)))
		must(t.c.RoleGrantPermission(t.ctx, "reader", "auth/write/", clientv3.GetPrefixRangeEnd("auth/write/"), clientv3.PermissionType(clientv3.PermWrite)))
		must(t.c.UserAdd(t.ctx, "alice", "wonder"))
		must(t.c.UserGrantRole(t.ctx, "alice", "reader"))
		must(t.c.UserAddWithOptions(t.ctx, "certificate", "", &clientv3.UserAddOptions{NoPassword: true}))
		_, err := t.c.UserAdd(t.ctx, "alice", "x")
		t.is(err, rpctypes.ErrUserAlreadyExist)
		_, err = t.c.RoleAdd(t.ctx, "reader")
		t.is(err, rpctypes.ErrRoleAlreadyExist)
		_, err = t.c.UserGrantRole(t.ctx, "alice", "nobody")
		t.is(err, rpctypes.ErrRoleNotFound)
		_, err = t.c.UserGet(t.ctx, "nobody")
		t.is(err, rpctypes.ErrUserNotFound)
		_, err = t.c.UserAdd(t.ctx, "", "x")
		t.is(err, rpctypes.ErrUserEmpty)
		same(t, "users", must(t.c.UserList(t.ctx)).Users, []string{"alice", "certificate", "root"})
		same(t, "roles", must(t.c.RoleList(t.ctx)).Roles, []string{"reader", "root"})
		same(t, "alice's", must(t.c.UserGet(t.ctx, "alice")).Roles, []string{"reader"})
		same(t, "permissions", len(must(t.c.RoleGet(t.ctx, "reader")).Perm), 3)
		t.put("auth/read/a", "1")
		t.put("auth/other", "1")
	}},
	{"auth: once enabled, nobody is let in without a name, or with a wrong one", func(t *T) {
		must(t.c.AuthEnable(t.ctx))
		nobody := rpctypes.ErrUserEmpty
		if secure() != nil {
			// A certificate says who asks, though ours has no name in it.
			nobody = rpctypes.ErrPermissionDenied
		}
		_, err := t.c.Get(t.ctx, "auth/read/a")
		t.is(err, nobody)
		_, err = t.c.Put(t.ctx, "auth/read/a", "x")
		t.is(err, nobody)
		_, err = tryAs("alice", "wrong")
		t.is(err, rpctypes.ErrAuthFailed)
		_, err = tryAs("nobody", "wrong")
		t.is(err, rpctypes.ErrAuthFailed)
		_, err = tryAs("certificate", "")
		t.holds(err == nil || strings.Contains(err.Error(), "authentication failed"), "%v", err)
		root := t.root()
		defer root.Close()
		status := must(root.AuthStatus(t.ctx))
		t.holds(status.Enabled && status.AuthRevision > 1, "status: %v", status)
	}},
	{"auth: a user reads and writes what its role grants", func(t *T) {
		alice := t.as("alice", "wonder")
		defer alice.Close()
		same(t, "read", string(must(alice.Get(t.ctx, "auth/read/", clientv3.WithPrefix())).Kvs[0].Value), "1")
		must(alice.Put(t.ctx, "auth/own", "1"))
		must(alice.Put(t.ctx, "auth/write/a", "1"))
		same(t, "delete", must(alice.Delete(t.ctx, "auth/write/a")).Deleted, 1)
		answer := must(alice.Txn(t.ctx).
			If(clientv3.Compare(clientv3.Value("auth/read/a"), "=", "1")).
			Then(clientv3.OpPut("auth/own", "2"), clientv3.OpGet("auth/read/a")).
			Commit())
		t.holds(answer.Succeeded, "the transaction failed")
		ch := alice.Watch(t.ctx, "auth/read/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		t.holds(t.next(ch).Created, "no watch")
		root := t.root()
		defer root.Close()
		must(root.Put(t.ctx, "auth/read/b", "1"))
		same(t, "event", told(t.events(ch, 1)), "create auth/read/b=1")
	}},
	{"auth: everything else is refused", func(t *T) {
		alice := t.as("alice", "wonder")
		defer alice.Close()
		refused := func(_ any, err error) { t.is(err, rpctypes.ErrPermissionDenied) }
		get := func(key string, opts ...clientv3.OpOption) {
			_, err := alice.Get(t.ctx, key, opts...)
			refused(nil, err)
		}
		get("auth/other")
		get("auth/write/a")
		get("auth/read/", clientv3.WithFromKey())
		get("auth/", clientv3.WithPrefix())
		get("", clientv3.WithPrefix())
		_, err := alice.Put(t.ctx, "auth/read/a", "x")
		refused(nil, err)
		_, err = alice.Put(t.ctx, "auth/write/a", "x", clientv3.WithPrevKV())
		refused(nil, err)
		_, err = alice.Delete(t.ctx, "auth/own", clientv3.WithRange("auth/p"))
		refused(nil, err)
		_, err = alice.Txn(t.ctx).If(clientv3.Compare(clientv3.Value("auth/other"), "=", "1")).Commit()
		refused(nil, err)
		_, err = alice.Txn(t.ctx).Else(clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("auth/other", "x")}, nil)).Commit()
		refused(nil, err)
		response := t.next(alice.Watch(t.ctx, "auth/own", clientv3.WithFromKey()))
		t.holds(response.Canceled && strings.Contains(response.Err().Error(), "permission denied"), "watch: %v", response)
		_, err = alice.Compact(t.ctx, 1)
		refused(nil, err)
		_, err = alice.UserAdd(t.ctx, "mallory", "x")
		refused(nil, err)
		_, err = alice.RoleList(t.ctx)
		refused(nil, err)
		_, err = alice.UserGet(t.ctx, "root")
		refused(nil, err)
		same(t, "of herself she may know", must(alice.UserGet(t.ctx, "alice")).Roles, []string{"reader"})
		_, err = alice.MemberAdd(t.ctx, []string{"http://127.0.0.1:1"})
		refused(nil, err)
		_, err = alice.Defragment(t.ctx, endpoints()[0])
		refused(nil, err)
		_, err = alice.HashKV(t.ctx, endpoints()[0], 0)
		refused(nil, err)
		_, err = alice.AuthDisable(t.ctx)
		refused(nil, err)
		must(alice.MemberList(t.ctx))
		must(alice.Status(t.ctx, endpoints()[0]))
	}},
	{"auth: a lease's keys are guarded too", func(t *T) {
		root, alice := t.root(), t.as("alice", "wonder")
		defer root.Close()
		defer alice.Close()
		lease := must(root.Grant(t.ctx, 600)).ID
		must(root.Put(t.ctx, "auth/other", "1", clientv3.WithLease(lease)))
		// The leader answers, as far as it has applied.
		t.eventually("its keys are not told", func() bool {
			_, err := alice.TimeToLive(t.ctx, lease, clientv3.WithAttachedKeys())
			return errors.Is(err, rpctypes.ErrPermissionDenied)
		})
		_, err := alice.Put(t.ctx, "auth/own", "1", clientv3.WithLease(lease))
		t.is(err, rpctypes.ErrPermissionDenied)
		_, err = alice.Revoke(t.ctx, lease)
		t.is(err, rpctypes.ErrPermissionDenied)
		own := must(alice.Grant(t.ctx, 600)).ID
		must(alice.Put(t.ctx, "auth/own", "1", clientv3.WithLease(own)))
		must(alice.KeepAliveOnce(t.ctx, own))
		must(alice.Revoke(t.ctx, own))
	}},
	{"auth: locks and elections where a role grants them", func(t *T) {
		root, alice := t.root(), t.as("alice", "wonder")
		defer root.Close()
		defer alice.Close()
		must(root.RoleAdd(t.ctx, "worker"))
		must(root.RoleGrantPermission(t.ctx, "worker", "auth/work/", clientv3.GetPrefixRangeEnd("auth/work/"), clientv3.PermissionType(clientv3.PermReadWrite)))
		must(root.UserGrantRole(t.ctx, "alice", "worker"))
		session := must(concurrency.NewSession(alice))
		defer session.Close()
		mutex := concurrency.NewMutex(session, "auth/work/lock")
		t.ok(mutex.Lock(t.ctx))
		t.ok(mutex.Unlock(t.ctx))
		election := concurrency.NewElection(session, "auth/work/election")
		t.ok(election.Campaign(t.ctx, "alice"))
		t.ok(election.Resign(t.ctx))
		t.is(concurrency.NewMutex(session, "auth/elsewhere").Lock(t.ctx), rpctypes.ErrPermissionDenied)
	}},
	{"auth: what is taken away is gone at once, on connections that are there", func(t *T) {
		root, alice := t.root(), t.as("alice", "wonder")
		defer root.Close()
		defer alice.Close()
		must(alice.Get(t.ctx, "auth/read/a"))
		must(root.RoleRevokePermission(t.ctx, "reader", "auth/read/", clientv3.GetPrefixRangeEnd("auth/read/")))
		_, err := alice.Get(t.ctx, "auth/read/a")
		t.is(err, rpctypes.ErrPermissionDenied)
		_, err = root.RoleRevokePermission(t.ctx, "reader", "auth/read/", clientv3.GetPrefixRangeEnd("auth/read/"))
		t.is(err, rpctypes.ErrPermissionNotGranted)
		must(alice.Put(t.ctx, "auth/own", "1"))
		must(root.UserRevokeRole(t.ctx, "alice", "reader"))
		_, err = alice.Put(t.ctx, "auth/own", "1")
		t.is(err, rpctypes.ErrPermissionDenied)
		_, err = root.UserRevokeRole(t.ctx, "alice", "reader")
		t.is(err, rpctypes.ErrRoleNotGranted)
		must(root.UserGrantRole(t.ctx, "alice", "reader"))
		must(alice.Put(t.ctx, "auth/own", "1"))
		must(root.RoleDelete(t.ctx, "reader"))
		_, err = alice.Put(t.ctx, "auth/own", "1")
		t.is(err, rpctypes.ErrPermissionDenied)
	}},
	{"auth: a new password, and a user who is deleted", func(t *T) {
		root := t.root()
		defer root.Close()
		must(root.UserChangePassword(t.ctx, "alice", "looking glass"))
		_, err := tryAs("alice", "wonder")
		t.is(err, rpctypes.ErrAuthFailed)
		alice := t.as("alice", "looking glass")
		defer alice.Close()
		must(alice.MemberList(t.ctx))
		must(root.UserDelete(t.ctx, "alice"))
		_, err = alice.Put(t.ctx, "auth/work/x", "1")
		t.holds(err != nil, "a deleted user writes")
		_, err = root.UserDelete(t.ctx, "root")
		t.is(err, rpctypes.ErrInvalidAuthMgmt)
		_, err = root.RoleDelete(t.ctx, "root")
		t.is(err, rpctypes.ErrInvalidAuthMgmt)
	}},
	{"auth: disabled, everybody is let in again", func(t *T) {
		root := t.root()
		defer root.Close()
		must(root.AuthDisable(t.ctx))
		same(t, "read", t.value("auth/read/a"), "1")
		same(t, "enabled", must(t.c.AuthStatus(t.ctx)).Enabled, false)
	}},
}
