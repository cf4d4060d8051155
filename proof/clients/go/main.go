// The Go client's program: clientv3 and the packages beside it, used as their users do.
//
//	main.go          what a check is, and the order of all
//	kv.go txn.go     keys, ranges, transactions, compaction
//	watch.go         watches
//	lease.go         leases
//	concurrency.go   sessions, locks, elections, software transactions
//	recipes.go       client/v3/experimental/recipes
//	layers.go        namespace, leasing, mirror, ordering, naming
//	kubernetes.go    every shape of request that Kubernetes' API server sends
//	operations.go    members and maintenance
//	reconnect.go     members that are killed under a client
//	auth.go          users, roles, permissions; last, because it shuts the door
//	next.go          what only the next release's client can ask (build tag next)
//
// It is told its cluster by the environment, and prints a line for each check: see ../src/main.rs.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"go.etcd.io/etcd/client/pkg/v3/transport"
)

// patience is how long something that must come true may take, on a slow and busy machine.
const patience = 30 * time.Second

// A check says what must hold; its name is the claim.
type check struct {
	name string
	run  func(t *T)
}

// T is one check that runs.
type T struct {
	ctx context.Context
	// c is a client of all members.
	c *clientv3.Client
}

type failure struct{ why string }

// fail ends the check.
func (t *T) fail(format string, args ...any) { panic(failure{fmt.Sprintf(format, args...)}) }

// ok wants no error.
func (t *T) ok(err error) {
	if err != nil {
		t.fail("%v", err)
	}
}

// is wants this error.
func (t *T) is(err, wanted error) {
	if !errors.Is(err, wanted) {
		t.fail("wanted the error %q, got %v", wanted, err)
	}
}

// holds wants a truth.
func (t *T) holds(true bool, format string, args ...any) {
	if !true {
		t.fail(format, args...)
	}
}

// eventually asks until it holds.
func (t *T) eventually(what string, ask func() bool) {
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if ask() {
			return
		}
	}
	t.fail("not within %v: %s", patience, what)
}

// same wants equal values, compared as they are printed.
func same[V any](t *T, what string, got, wanted V) {
	if g, w := fmt.Sprintf("%v", got), fmt.Sprintf("%v", wanted); g != w {
		t.fail("%s: wanted %s, got %s", what, w, g)
	}
}

// must wants a value without an error.
func must[V any](v V, err error) V {
	if err != nil {
		panic(failure{err.Error()})
	}
	return v
}

func endpoints() []string { return strings.Split(os.Getenv("CLIENTS_ENDPOINTS"), ",") }

// config of a client of these endpoints.
func config(endpoints ...string) clientv3.Config {
	return clientv3.Config{
		Endpoints:            endpoints,
		DialTimeout:          10 * time.Second,
		DialKeepAliveTime:    30 * time.Second,
		DialKeepAliveTimeout: 10 * time.Second,
		Logger:               zap.NewNop(),
		TLS:                  secure(),
	}
}

func secure() *tls.Config {
	if os.Getenv("CLIENTS_CA") == "" {
		return nil
	}
	info := transport.TLSInfo{
		CertFile:      os.Getenv("CLIENTS_CERT"),
		KeyFile:       os.Getenv("CLIENTS_KEY"),
		TrustedCAFile: os.Getenv("CLIENTS_CA"),
	}
	return must(info.ClientConfig())
}

// client of these endpoints; of all if none are named. The caller closes it.
func (t *T) client(of ...string) *clientv3.Client {
	if len(of) == 0 {
		of = endpoints()
	}
	return must(clientv3.New(config(of...)))
}

// control kills or starts a member: `kill 2`, `start 2`.
func (t *T) control(line string) {
	conn := must(net.Dial("tcp", os.Getenv("CLIENTS_CONTROL")))
	defer conn.Close()
	fmt.Fprintln(conn, line)
	answer := must(bufio.NewReader(conn).ReadString('\n'))
	same(t, line, strings.TrimSpace(answer), "ok")
}

func isNotYet(name string) bool {
	for _, beginning := range strings.Split(os.Getenv("CLIENTS_NOT_YET"), ",") {
		if beginning != "" && strings.HasPrefix(name, beginning) {
			return true
		}
	}
	return false
}

// try runs one check and returns why it failed.
func try(one check, c *clientv3.Client) (why string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	defer func() {
		switch caught := recover().(type) {
		case nil:
		case failure:
			why = caught.why
		default:
			why = fmt.Sprintf("panic: %v", caught)
		}
	}()
	one.run(&T{ctx: ctx, c: c})
	return ""
}

func main() {
	c, err := clientv3.New(config(endpoints()...))
	if err != nil {
		fmt.Fprintln(os.Stderr, "no client:", err)
		os.Exit(1)
	}
	defer c.Close()
	var passed, failed, notYet int
	for _, group := range [][]check{
		kvChecks, txnChecks, watchChecks, leaseChecks, concurrencyChecks, recipeChecks, layerChecks,
		kubernetesChecks, nextChecks, operationChecks, reconnectChecks, authChecks,
	} {
		for _, one := range group {
			if isNotYet(one.name) {
				notYet++
				fmt.Println("not yet", one.name)
				continue
			}
			begin := time.Now()
			if why := try(one, c); why != "" {
				failed++
				fmt.Printf("FAILED %s: %s\n", one.name, strings.ReplaceAll(why, "\n", " "))
			} else {
				passed++
				fmt.Println("ok", one.name)
			}
			fmt.Fprintf(os.Stderr, "%6d ms  %s\n", time.Since(begin).Milliseconds(), one.name)
		}
	}
	fmt.Printf("%d passed, %d failed, %d not yet\n", passed, failed, notYet)
	if failed > 0 {
		os.Exit(1)
	}
}
