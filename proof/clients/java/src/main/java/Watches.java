import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.Watch;
import io.etcd.jetcd.Watch.Watcher;
import io.etcd.jetcd.common.exception.CompactedException;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.watch.WatchEvent;
import io.etcd.jetcd.watch.WatchResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicReference;

/** Watches. */
final class Watches {
  private static KV kv;
  private static Watch watch;

  private static long put(String key, String value) throws Exception {
    return Check.get(kv.put(Check.bytes(key), Check.bytes(value))).getHeader().getRevision();
  }

  private static void delete(String key) throws Exception {
    Check.get(kv.delete(Check.bytes(key)));
  }

  /** What a watcher was told. */
  static final class Seen implements Watch.Listener {
    final List<String> events = new CopyOnWriteArrayList<>();
    final List<WatchResponse> responses = new CopyOnWriteArrayList<>();
    final AtomicReference<Throwable> error = new AtomicReference<>();
    volatile boolean isOver;

    @Override
    public void onNext(WatchResponse response) {
      responses.add(response);
      for (WatchEvent event : response.getEvents()) {
        boolean isDelete = event.getEventType() == WatchEvent.EventType.DELETE;
        String word = (isDelete ? "delete " : "put ") + event.getKeyValue().getKey();
        String was = event.getPrevKV().getKey().isEmpty() ? "" : " was " + event.getPrevKV().getValue();
        events.add(word + (isDelete ? "" : "=" + event.getKeyValue().getValue()) + was);
      }
    }

    @Override
    public void onError(Throwable thrown) {
      error.set(thrown);
    }

    @Override
    public void onCompleted() {
      isOver = true;
    }

    void wait(int n) throws Exception {
      Check.eventually(n + " events, there are " + events, () -> events.size() >= n);
    }
  }

  static void checks() throws Exception {
    Client c = Check.client();
    kv = c.getKVClient();
    watch = c.getWatchClient();

    Check.check("watch: history with what was there before, and then the present", () -> {
      long first = put("watch/h/a", "1");
      put("watch/h/a", "2");
      delete("watch/h/a");
      Seen seen = new Seen();
      WatchOption option = WatchOption.builder().isPrefix(true).withRevision(first).withPrevKV(true).build();
      try (Watcher watcher = watch.watch(Check.bytes("watch/h/"), option, seen)) {
        seen.wait(3);
        put("watch/h/b", "3");
        seen.wait(4);
      }
      Check.same("events", seen.events, List.of("put watch/h/a=1", "put watch/h/a=2 was 1", "delete watch/h/a was 2", "put watch/h/b=3"));
    });

    Check.check("watch: only puts, only deletes", () -> {
      long first = put("watch/f", "1");
      delete("watch/f");
      Seen puts = new Seen();
      Seen deletes = new Seen();
      try (Watcher one = watch.watch(Check.bytes("watch/f"), WatchOption.builder().withRevision(first).withNoDelete(true).build(), puts);
          Watcher two = watch.watch(Check.bytes("watch/f"), WatchOption.builder().withRevision(first).withNoPut(true).build(), deletes)) {
        put("watch/f", "2");
        puts.wait(2);
        deletes.wait(1);
      }
      Check.same("puts", puts.events, List.of("put watch/f=1", "put watch/f=2"));
      Check.same("deletes", deletes.events, List.of("delete watch/f"));
    });

    Check.check("watch: created, progress on demand, cancel", () -> {
      Seen seen = new Seen();
      WatchOption option = WatchOption.builder().withCreateNotify(true).withProgressNotify(true).withRequireLeader(true).build();
      Watcher watcher = watch.watch(Check.bytes("watch/p"), option, seen);
      Check.eventually("created", () -> seen.responses.stream().anyMatch(WatchResponse::isCreatedNotify));
      long revision = put("watch/elsewhere", "1");
      // While the member is behind, etcd answers nothing: ask again.
      Check.eventually("progress", () -> {
        watcher.requestProgress();
        Thread.sleep(100);
        return seen.responses.stream().anyMatch(one -> one.isProgressNotify() && one.getHeader().getRevision() >= revision);
      });
      watcher.close();
      Check.eventually("over", () -> seen.isOver);
      put("watch/p", "1");
      Check.same("events after its cancel", seen.events, List.of());
    });

    Check.check("watch: below the compacted revision it ends and says from where on", () -> {
      long old = put("watch/c", "1");
      long now = put("watch/c", "2");
      Check.get(kv.compact(now));
      Seen seen = new Seen();
      try (Watcher watcher = watch.watch(Check.bytes("watch/c"), WatchOption.builder().withRevision(old).build(), seen)) {
        Check.eventually("an error", () -> seen.error.get() != null);
      }
      Check.holds("compacted: " + seen.error.get(), seen.error.get() instanceof CompactedException);
      Check.same("from where on", ((CompactedException) seen.error.get()).getCompactedRevision(), now);
    });

    Check.check("watch: many, each its own key", () -> {
      List<Seen> all = new ArrayList<>();
      List<Watcher> watchers = new ArrayList<>();
      for (int i = 0; i < 30; i++) {
        all.add(new Seen());
        watchers.add(watch.watch(Check.bytes("watch/many/" + i), WatchOption.builder().withCreateNotify(true).build(), all.get(i)));
      }
      for (Seen seen : all) {
        Check.eventually("created", () -> !seen.responses.isEmpty());
      }
      for (int i = 0; i < 30; i++) {
        put("watch/many/" + i, "v");
      }
      for (int i = 0; i < 30; i++) {
        all.get(i).wait(1);
        Check.same("event", all.get(i).events, List.of("put watch/many/" + i + "=v"));
        watchers.get(i).close();
      }
    });

    Check.check("reconnect: calls go on, and a watch misses nothing", () -> {
      try (Client lonely = Check.client(Check.ENDPOINTS.get(1)); Client others = Check.client(Check.ENDPOINTS.get(0), Check.ENDPOINTS.get(2))) {
        Seen seen = new Seen();
        Watcher watcher = lonely.getWatchClient().watch(Check.bytes("reconnect"), WatchOption.builder().withCreateNotify(true).build(), seen);
        Check.eventually("created", () -> !seen.responses.isEmpty());
        List<String> wanted = new ArrayList<>();
        for (int i = 0; i <= 6; i++) {
          if (i == 1) {
            Check.control("kill 2");
          } else if (i == 6) {
            Check.control("start 2");
          }
          String value = String.valueOf(i);
          // A put may be lost with its leader; whoever sends it again is a user.
          Check.eventually("a put", () -> {
            try {
              Check.get(others.getKVClient().put(Check.bytes("reconnect"), Check.bytes(value)));
              return true;
            } catch (Exception failed) {
              return false;
            }
          });
          wanted.add("put reconnect=" + i);
        }
        Check.eventually("after", () -> seen.events.contains("put reconnect=6"));
        Check.same("events", seen.events.stream().distinct().toList(), wanted);
        watcher.close();
        Check.same("a call", Data.value(lonely.getKVClient(), "reconnect"), "6");
        Check.get(others.getKVClient().delete(Check.bytes("reconnect"), DeleteOption.DEFAULT));
      }
    });
  }
}
