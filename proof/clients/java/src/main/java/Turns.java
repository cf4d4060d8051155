import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.Election;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.Lease;
import io.etcd.jetcd.Lock;
import io.etcd.jetcd.election.LeaderKey;
import io.etcd.jetcd.election.LeaderResponse;
import io.etcd.jetcd.election.NoLeaderException;
import io.etcd.jetcd.election.NotLeaderException;
import io.etcd.jetcd.options.GetOption;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** Locks and elections: the server's services. */
final class Turns {
  static void checks() throws Exception {
    Client c = Check.client();
    KV kv = c.getKVClient();
    Lease leases = c.getLeaseClient();
    Lock locks = c.getLockClient();
    Election elections = c.getElectionClient();

    Check.check("lock: one holds it, the others wait for their turn", () -> {
      ByteSequence name = Check.bytes("lock/crowd");
      AtomicInteger inside = new AtomicInteger();
      AtomicInteger most = new AtomicInteger();
      List<CompletableFuture<Void>> crowd = new java.util.ArrayList<>();
      for (int i = 0; i < 4; i++) {
        crowd.add(CompletableFuture.runAsync(() -> {
          try {
            long lease = Check.get(leases.grant(30)).getID();
            for (int turn = 0; turn < 3; turn++) {
              ByteSequence key = locks.lock(name, lease).get(60, TimeUnit.SECONDS).getKey();
              most.accumulateAndGet(inside.incrementAndGet(), Math::max);
              inside.decrementAndGet();
              Check.get(locks.unlock(key));
            }
          } catch (Exception failed) {
            throw new IllegalStateException(failed);
          }
        }));
      }
      for (CompletableFuture<Void> one : crowd) {
        one.get(90, TimeUnit.SECONDS);
      }
      Check.same("at a time", most.get(), 1);
    });

    Check.check("lock: the holder's lease ends, and the next holds it", () -> {
      ByteSequence name = Check.bytes("lock/end");
      long first = Check.get(leases.grant(30)).getID();
      long second = Check.get(leases.grant(30)).getID();
      Check.get(locks.lock(name, first));
      var waiting = locks.lock(name, second);
      GetOption prefix = GetOption.builder().isPrefix(true).build();
      Check.eventually("two in line", () -> Check.get(kv.get(Check.bytes("lock/end/"), prefix)).getCount() == 2);
      Check.holds("it waits", !waiting.isDone());
      Check.get(leases.revoke(first));
      ByteSequence key = Check.get(waiting).getKey();
      Check.holds("its key", key.toString().startsWith("lock/end/"));
      Check.get(locks.unlock(key));
    });

    Check.check("election: one leads, proclaims and resigns, the next leads", () -> {
      ByteSequence name = Check.bytes("race");
      long first = Check.get(leases.grant(30)).getID();
      long second = Check.get(leases.grant(30)).getID();
      Throwable nobody = Check.refused("nobody", () -> Check.get(elections.leader(name)), "no leader", "NoLeader");
      Check.holds("its kind: " + nobody, nobody instanceof NoLeaderException);
      LeaderKey leader = Check.get(elections.campaign(name, first, Check.bytes("one"))).getLeader();
      var waiting = elections.campaign(name, second, Check.bytes("two"));
      Check.same("leader", Check.get(elections.leader(name)).getKv().getValue().toString(), "one");
      Check.get(elections.proclaim(leader, Check.bytes("still one")));
      Check.same("leader", Check.get(elections.leader(name)).getKv().getValue().toString(), "still one");
      Check.holds("the second waits", !waiting.isDone());
      Check.get(elections.resign(leader));
      LeaderKey next = Check.get(waiting).getLeader();
      Check.same("leader", Check.get(elections.leader(name)).getKv().getValue().toString(), "two");
      Throwable late = Check.refused("late", () -> Check.get(elections.proclaim(leader, Check.bytes("x"))), "not leader", "NotLeader");
      Check.holds("its kind: " + late, late instanceof NotLeaderException);
      Check.get(elections.resign(next));
    });

    Check.check("election: observers see every leader", () -> {
      ByteSequence name = Check.bytes("observed");
      List<String> seen = new CopyOnWriteArrayList<>();
      elections.observe(name, new Election.Listener() {
        @Override
        public void onNext(LeaderResponse response) {
          seen.add(response.getKv().getValue().toString());
        }

        @Override
        public void onError(Throwable error) {
          seen.add(String.valueOf(error));
        }

        @Override
        public void onCompleted() {}
      });
      for (String value : List.of("one", "two")) {
        long lease = Check.get(leases.grant(30)).getID();
        LeaderKey leader = Check.get(elections.campaign(name, lease, Check.bytes(value))).getLeader();
        Check.eventually("observed " + value, () -> seen.contains(value));
        Check.get(elections.resign(leader));
      }
      Check.same("seen", seen, List.of("one", "two"));
    });
  }
}
