import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.Lease;
import io.etcd.jetcd.lease.LeaseKeepAliveResponse;
import io.etcd.jetcd.options.LeaseOption;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.support.CloseableClient;
import io.etcd.jetcd.support.Observers;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** Leases. */
final class Leases {
  static void checks() throws Exception {
    Client c = Check.client();
    KV kv = c.getKVClient();
    Lease leases = c.getLeaseClient();

    Check.check("lease: grant, look, once alive, revoke", () -> {
      long id = Check.get(leases.grant(600)).getID();
      Check.get(kv.put(Check.bytes("lease/a"), Check.bytes("1"), PutOption.builder().withLeaseId(id).build()));
      var look = Check.get(leases.timeToLive(id, LeaseOption.builder().withAttachedKeys().build()));
      Check.same("look", List.of(look.getGrantedTTL(), look.getTTL() > 500, look.getKeys().toString()), List.of(600L, true, "[lease/a]"));
      Check.same("alive", Check.get(leases.keepAliveOnce(id)).getTTL(), 600L);
      Check.get(leases.revoke(id));
      Check.same("its key", Data.value(kv, "lease/a"), null);
      Check.same("over", Check.get(leases.timeToLive(id, LeaseOption.DEFAULT)).getTTL(), -1L);
      Check.refused("again", () -> Check.get(leases.revoke(id)), "requested lease not found");
    });

    Check.check("lease: kept alive it lives on, and then it expires with its keys", () -> {
      long id = Check.get(leases.grant(2)).getID();
      Check.get(kv.put(Check.bytes("lease/b"), Check.bytes("1"), PutOption.builder().withLeaseId(id).build()));
      List<LeaseKeepAliveResponse> answers = new CopyOnWriteArrayList<>();
      CloseableClient alive = leases.keepAlive(id, Observers.observer(answers::add));
      Thread.sleep(5000);
      Check.same("kept", Data.value(kv, "lease/b"), "1");
      Check.holds("answers: " + answers.size(), answers.size() >= 2 && answers.get(0).getTTL() == 2);
      alive.close();
      Check.eventually("expired", () -> Data.value(kv, "lease/b") == null);
    });

    Check.check("lease: the holder hears that a lease is over", () -> {
      long id = Check.get(leases.grant(3)).getID();
      List<Throwable> errors = new CopyOnWriteArrayList<>();
      CloseableClient alive = leases.keepAlive(id, Observers.<LeaseKeepAliveResponse>builder().onNext(answer -> {}).onError(errors::add).build());
      Check.get(leases.revoke(id));
      Check.eventually("it hears", () -> !errors.isEmpty());
      alive.close();
    });
  }
}
