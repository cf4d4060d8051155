import io.etcd.jetcd.Client;
import io.etcd.jetcd.Cluster;
import io.etcd.jetcd.Maintenance;
import io.etcd.jetcd.cluster.Member;
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Members and maintenance. */
final class Operations {
  static void checks() throws Exception {
    Client c = Check.client();
    Cluster cluster = c.getClusterClient();
    Maintenance maintenance = c.getMaintenanceClient();

    Check.check("cluster: members are listed, a learner comes, moves and goes", () -> {
      List<Member> members = Check.get(cluster.listMember()).getMembers();
      Check.same("names", members.stream().map(Member::getName).sorted().toList(), List.of("n1", "n2", "n3"));
      List<String> urls = members.stream().flatMap(one -> one.getClientURIs().stream()).map(URI::toString).sorted().toList();
      Check.same("urls", urls, Check.ENDPOINTS.stream().sorted().toList());
      // A cluster takes a member once all voters have seen each other for five seconds.
      Member[] added = new Member[1];
      Check.eventually("the cluster takes a member", () -> {
        try {
          added[0] = Check.get(cluster.addMember(List.of(URI.create("http://127.0.0.1:1")), true)).getMember();
          return true;
        } catch (Exception young) {
          return false;
        }
      });
      Member learner = added[0];
      Check.holds("a learner", learner.isLearner());
      Check.refused("promoted", () -> Check.get(cluster.promoteMember(learner.getId())), "in sync with leader");
      Check.get(cluster.updateMember(learner.getId(), List.of(URI.create("http://127.0.0.1:2"))));
      Check.same("removed", Check.get(cluster.removeMember(learner.getId())).getMembers().size(), 3);
    });

    Check.check("maintenance: status, alarms, hashes, defragment, move the leader", () -> {
      Check.get(c.getKVClient().put(Check.bytes("maintenance"), Check.bytes("1")));
      Set<Integer> hashes = new HashSet<>();
      long revision = Check.get(c.getKVClient().get(Check.bytes("maintenance"))).getHeader().getRevision();
      for (String endpoint : Check.ENDPOINTS) {
        var status = Check.get(maintenance.statusMember(endpoint));
        Check.holds("status", status.getVersion().startsWith("3.") && status.getDbSize() > 0 && status.getLeader() != 0 && status.getRaftTerm() > 0);
        Check.eventually("the member is there", () -> {
          try {
            hashes.add(Check.get(maintenance.hashKV(endpoint, revision)).getHash());
            return true;
          } catch (Exception behind) {
            return false;
          }
        });
      }
      Check.same("different hashes", hashes.size(), 1);
      Check.same("alarms", Check.get(maintenance.listAlarms()).getAlarms().size(), 0);
      Check.get(maintenance.defragmentMember(Check.ENDPOINTS.get(0)));
      String leading = null;
      long leader = 0;
      for (String endpoint : Check.ENDPOINTS) {
        var status = Check.get(maintenance.statusMember(endpoint));
        if (status.getLeader() == status.getHeader().getMemberId()) {
          leading = endpoint;
          leader = status.getLeader();
        }
      }
      long old = leader;
      long other = Check.get(cluster.listMember()).getMembers().stream().map(Member::getId).filter(id -> id != old).findFirst().orElseThrow();
      try (Client at = Check.client(leading)) {
        Check.get(at.getMaintenanceClient().moveLeader(other));
        String endpoint = leading;
        Check.eventually("it leads", () -> Check.get(maintenance.statusMember(endpoint)).getLeader() == other);
      }
    });

    Check.check("maintenance: a snapshot ends with its SHA-256", () -> {
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      long size = Check.get(maintenance.snapshot(out));
      byte[] all = out.toByteArray();
      Check.same("its length", (long) all.length, size);
      byte[] sum = MessageDigest.getInstance("SHA-256").digest(Arrays.copyOf(all, all.length - 32));
      Check.holds("its sum", Arrays.equals(sum, Arrays.copyOfRange(all, all.length - 32, all.length)));
    });
  }
}
