import io.etcd.jetcd.Auth;
import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.auth.Permission.Type;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.WatchOption;
import java.util.List;

/** Users, roles and permissions. */
final class Access {
  private static ByteSequence b(String text) {
    return Check.bytes(text);
  }

  static void checks() throws Exception {
    Client c = Check.client(Check.ENDPOINTS.get(0));
    KV kv = c.getKVClient();
    Auth auth = c.getAuthClient();

    Check.check("auth: users and roles, enabled", () -> {
      Check.refused("not yet", () -> Check.get(auth.authEnable()), "root user does not exist");
      Check.get(auth.userAdd(b("root"), b("secret")));
      Check.get(auth.roleAdd(b("root")));
      Check.get(auth.userGrantRole(b("root"), b("root")));
      Check.get(auth.userAdd(b("alice"), b("wonder")));
      Check.get(auth.roleAdd(b("reader")));
      Check.get(auth.roleGrantPermission(b("reader"), b("auth/read/"), b("auth/read0"), Type.READ));
      Check.get(auth.roleGrantPermission(b("reader"), b("auth/work/"), b("auth/work0"), Type.READWRITE));
      Check.get(auth.userGrantRole(b("alice"), b("reader")));
      Check.same("users", Check.get(auth.userList()).getUsers(), List.of("alice", "root"));
      Check.same("roles", Check.get(auth.roleList()).getRoles(), List.of("reader", "root"));
      Check.same("alice's", Check.get(auth.userGet(b("alice"))).getRoles(), List.of("reader"));
      Check.same("permissions", Check.get(auth.roleGet(b("reader"))).getPermissions().size(), 2);
      Check.refused("twice", () -> Check.get(auth.userAdd(b("alice"), b("x"))), "user name already exists");
      Check.refused("no such role", () -> Check.get(auth.roleGet(b("none"))), "role name not found");
      Check.get(kv.put(b("auth/read/a"), b("1")));
      Check.get(auth.authEnable());
    });

    Check.check("auth: who says no name, or a wrong word, is turned away", () -> {
      // A certificate says who asks, though ours has no name in it.
      String nobody = System.getenv("CLIENTS_CA") == null ? "user name is empty" : "permission denied";
      Check.refused("nobody", () -> Check.get(kv.get(b("auth/read/a"))), nobody);
      try (Client wrong = Check.as("alice", "x")) {
        // It keeps the code and drops the words.
        Check.refused("a wrong word", () -> Check.get(wrong.getKVClient().get(b("auth/read/a"))), "UNAUTHENTICATED", "authentication failed");
      }
    });

    Check.check("auth: a user may do what its role grants, and nothing else, in watches, locks and elections too", () -> {
      try (Client root = Check.as("root", "secret"); Client alice = Check.as("alice", "wonder")) {
        KV hers = alice.getKVClient();
        Check.same("read", Data.value(hers, "auth/read/a"), "1");
        Check.get(hers.put(b("auth/work/a"), b("1")));
        Check.refused("a put", () -> Check.get(hers.put(b("auth/read/a"), b("2"))), "permission denied");
        Check.refused("another key", () -> Check.get(hers.get(b("auth/other"))), "permission denied");
        Check.refused("all", () -> Check.get(hers.get(b("\0"), GetOption.builder().withRange(b("\0")).build())), "permission denied");
        Check.refused("administration", () -> Check.get(alice.getAuthClient().userAdd(b("mallory"), b("x"))), "permission denied");
        Check.refused("compaction", () -> Check.get(hers.compact(1)), "permission denied");
        Watches.Seen seen = new Watches.Seen();
        var watcher = alice.getWatchClient().watch(b("auth/read/"), WatchOption.builder().isPrefix(true).withCreateNotify(true).build(), seen);
        Check.eventually("created", () -> !seen.responses.isEmpty());
        Check.get(root.getKVClient().put(b("auth/read/b"), b("1")));
        seen.wait(1);
        watcher.close();
        Watches.Seen refused = new Watches.Seen();
        var other = alice.getWatchClient().watch(b("auth/other"), WatchOption.DEFAULT, refused);
        Check.eventually("a watch is refused", () -> refused.error.get() != null);
        other.close();
        long lease = Check.get(alice.getLeaseClient().grant(30)).getID();
        ByteSequence key = Check.get(alice.getLockClient().lock(b("auth/work/lock"), lease)).getKey();
        Check.get(alice.getLockClient().unlock(key));
        var leader = Check.get(alice.getElectionClient().campaign(b("auth/work/race"), lease, b("alice"))).getLeader();
        Check.get(alice.getElectionClient().resign(leader));
        Check.refused("another lock", () -> Check.get(alice.getLockClient().lock(b("auth/lock"), lease)), "permission denied");
      }
    });

    Check.check("auth: what is taken away is gone, and the door open again", () -> {
      try (Client root = Check.as("root", "secret"); Client alice = Check.as("alice", "wonder")) {
        Auth admin = root.getAuthClient();
        Check.get(alice.getKVClient().put(b("auth/work/a"), b("2")));
        Check.get(admin.roleRevokePermission(b("reader"), b("auth/work/"), b("auth/work0")));
        Check.refused("a put", () -> Check.get(alice.getKVClient().put(b("auth/work/a"), b("3"))), "permission denied");
        Check.get(admin.userChangePassword(b("alice"), b("new")));
        try (Client again = Check.as("alice", "new")) {
          Check.same("read", Data.value(again.getKVClient(), "auth/read/a"), "1");
          Check.get(admin.userRevokeRole(b("alice"), b("reader")));
          Check.refused("a read", () -> Check.get(again.getKVClient().get(b("auth/read/a"))), "permission denied");
        }
        Check.get(admin.roleDelete(b("reader")));
        Check.get(admin.userDelete(b("alice")));
        Check.get(admin.authDisable());
      }
      Check.same("open", Data.value(kv, "auth/read/a"), "1");
    });
  }
}
