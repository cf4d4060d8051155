import static io.etcd.jetcd.op.Cmp.Op.EQUAL;
import static io.etcd.jetcd.op.Cmp.Op.GREATER;
import static io.etcd.jetcd.op.Cmp.Op.LESS;
import static io.etcd.jetcd.op.Cmp.Op.NOT_EQUAL;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.CompactOption;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.GetOption.SortOrder;
import io.etcd.jetcd.options.GetOption.SortTarget;
import io.etcd.jetcd.options.PutOption;
import java.util.List;

/** Keys, ranges, transactions, compaction, namespaces. */
final class Data {
  private static KV kv;

  private static long put(String key, String value) throws Exception {
    return Check.get(kv.put(Check.bytes(key), Check.bytes(value))).getHeader().getRevision();
  }

  private static List<KeyValue> range(GetOption.Builder option, String key) throws Exception {
    return Check.get(kv.get(Check.bytes(key), option.build())).getKvs();
  }

  private static String keys(List<KeyValue> kvs) {
    return String.join(" ", kvs.stream().map(one -> one.getKey().toString()).toList());
  }

  static String value(KV kv, String key) throws Exception {
    List<KeyValue> kvs = Check.get(kv.get(Check.bytes(key))).getKvs();
    return kvs.isEmpty() ? null : kvs.get(0).getValue().toString();
  }

  private static boolean passes(String key, Cmp.Op operator, CmpTarget<?> target) throws Exception {
    Cmp cmp = new Cmp(Check.bytes(key), operator, target);
    // The get makes it linearizable.
    Op look = Op.get(Check.bytes("none"), GetOption.DEFAULT);
    return Check.get(kv.txn().If(cmp).Then(look).commit()).isSucceeded();
  }

  static void checks() throws Exception {
    kv = Check.client().getKVClient();

    Check.check("kv: what was put is read back, with its revisions", () -> {
      long first = put("kv/a", "one");
      long second = put("kv/a", "two");
      Check.same("one put, one revision", second, first + 1);
      KeyValue got = Check.get(kv.get(Check.bytes("kv/a"))).getKvs().get(0);
      Check.same("value", got.getValue().toString(), "two");
      Check.same("revisions", List.of(got.getCreateRevision(), got.getModRevision(), got.getVersion()), List.of(first, second, 2L));
      Check.same("the past", range(GetOption.builder().withRevision(first), "kv/a").get(0).getValue().toString(), "one");
      Check.same("nothing", value(kv, "kv/none"), null);
    });

    Check.check("kv: prefixes, ranges, sorts, limits, counts, filters", () -> {
      long first = put("kv/r/a", "3");
      put("kv/r/b", "1");
      put("kv/r/c", "2");
      Check.same("prefix", keys(range(GetOption.builder().isPrefix(true), "kv/r/")), "kv/r/a kv/r/b kv/r/c");
      Check.same("range", keys(range(GetOption.builder().withRange(Check.bytes("kv/r/c")), "kv/r/a")), "kv/r/a kv/r/b");
      GetOption.Builder sorted = GetOption.builder().isPrefix(true).withSortField(SortTarget.VALUE).withSortOrder(SortOrder.DESCEND);
      Check.same("by value", keys(range(sorted, "kv/r/")), "kv/r/a kv/r/c kv/r/b");
      var page = Check.get(kv.get(Check.bytes("kv/r/"), GetOption.builder().isPrefix(true).withLimit(2).build()));
      Check.same("page", List.of(page.getKvs().size(), page.isMore(), page.getCount()), List.of(2, true, 3L));
      var count = Check.get(kv.get(Check.bytes("kv/r/"), GetOption.builder().isPrefix(true).withCountOnly(true).build()));
      Check.same("count", List.of(count.getKvs().size(), count.getCount()), List.of(0, 3L));
      Check.same("keys only", range(GetOption.builder().withKeysOnly(true), "kv/r/a").get(0).getValue().size(), 0);
      Check.same("filter", keys(range(GetOption.builder().isPrefix(true).withMaxModRevision(first), "kv/r/")), "kv/r/a");
      Check.same("all", range(GetOption.builder().withRange(Check.bytes("\0")), "\0").size() >= 3, true);
      Check.eventually("serializable", () -> range(GetOption.builder().withSerializable(true), "kv/r/a").size() == 1);
    });

    Check.check("kv: puts and deletes tell what was there", () -> {
      put("kv/d/a", "1");
      var was = Check.get(kv.put(Check.bytes("kv/d/a"), Check.bytes("2"), PutOption.builder().withPrevKV().build()));
      Check.same("before", was.getPrevKv().getValue().toString(), "1");
      var gone = Check.get(kv.delete(Check.bytes("kv/d/"), DeleteOption.builder().isPrefix(true).withPrevKV(true).build()));
      Check.same("deleted", List.of(gone.getDeleted(), gone.getPrevKvs().get(0).getValue().toString()), List.of(1L, "2"));
      Check.same("again", Check.get(kv.delete(Check.bytes("kv/d/a"))).getDeleted(), 0L);
    });

    Check.check("kv: compaction and what is refused", () -> {
      long old = put("kv/c", "1");
      long now = put("kv/c", "2");
      Check.get(kv.compact(now, CompactOption.builder().withCompactPhysical(true).build()));
      Check.refused("the past", () -> range(GetOption.builder().withRevision(old), "kv/c"), "required revision has been compacted");
      Check.refused("the future", () -> range(GetOption.builder().withRevision(now + 1000), "kv/c"), "required revision is a future revision");
      Check.refused("no key", () -> put("", "1"), "key is not provided");
      Check.refused("no lease", () -> Check.get(kv.put(Check.bytes("kv/l"), Check.bytes("1"), PutOption.builder().withLeaseId(4711).build())), "requested lease not found");
      Check.same("the present", value(kv, "kv/c"), "2");
    });

    Check.check("namespace: keys and transactions under a prefix", () -> {
      try (Client space = Check.builder(Check.ENDPOINTS.get(0)).namespace(Check.bytes("space/")).build()) {
        Check.get(space.getKVClient().put(Check.bytes("a"), Check.bytes("1")));
        Check.same("outside", value(kv, "space/a"), "1");
        Check.same("within", value(space.getKVClient(), "a"), "1");
        var answer = Check.get(space.getKVClient().txn().Then(Op.get(Check.bytes("a"), GetOption.DEFAULT)).commit());
        Check.same("in a transaction", keys(answer.getGetResponses().get(0).getKvs()), "a");
      }
    });

    Check.check("txn: then or else, nested", () -> {
      put("txn/a", "1");
      ByteSequence key = Check.bytes("txn/a");
      var yes = Check.get(kv.txn().If(new Cmp(key, EQUAL, CmpTarget.value(Check.bytes("1"))))
          .Then(Op.put(key, Check.bytes("2"), PutOption.DEFAULT), Op.get(key, GetOption.DEFAULT))
          .Else(Op.delete(key, DeleteOption.DEFAULT)).commit());
      Check.same("then", List.of(yes.isSucceeded(), yes.getGetResponses().get(0).getKvs().get(0).getValue().toString()), List.of(true, "2"));
      Op inner = Op.txn(new Cmp[] {new Cmp(key, EQUAL, CmpTarget.version(2))}, new Op[] {Op.put(Check.bytes("txn/n"), Check.bytes("then"), PutOption.DEFAULT)},
          new Op[] {Op.put(Check.bytes("txn/n"), Check.bytes("else"), PutOption.DEFAULT)});
      var no = Check.get(kv.txn().If(new Cmp(key, EQUAL, CmpTarget.value(Check.bytes("1")))).Else(Op.delete(key, DeleteOption.DEFAULT), inner).commit());
      Check.same("else", List.of(no.isSucceeded(), no.getDeleteResponses().get(0).getDeleted(), no.getTxnResponses().get(0).isSucceeded()), List.of(false, 1L, true));
      Check.same("nested", value(kv, "txn/n"), "then");
      Check.refused("two puts of a key", () -> Check.get(kv.txn().Then(Op.put(key, key, PutOption.DEFAULT), Op.put(key, key, PutOption.DEFAULT)).commit()), "duplicate key given in txn request");
    });

    Check.check("txn: every target and every operator compares", () -> {
      long revision = put("txn/cmp", "m");
      Check.holds("=", passes("txn/cmp", EQUAL, CmpTarget.value(Check.bytes("m"))));
      Check.holds("!=", passes("txn/cmp", NOT_EQUAL, CmpTarget.value(Check.bytes("n"))));
      Check.holds(">", passes("txn/cmp", GREATER, CmpTarget.version(0)));
      Check.holds("<", passes("txn/cmp", LESS, CmpTarget.version(2)));
      Check.holds("create", passes("txn/cmp", EQUAL, CmpTarget.createRevision(revision)));
      Check.holds("mod", passes("txn/cmp", EQUAL, CmpTarget.modRevision(revision)));
      Check.holds("not there", passes("txn/none", EQUAL, CmpTarget.createRevision(0)));
      Check.holds("no value", !passes("txn/none", NOT_EQUAL, CmpTarget.value(Check.bytes("m"))));
    });
  }
}
