# watch: from now, from a revision, prefix and range, prev-kv, a command per event, progress.
# shellcheck shell=bash

r0="$(revision)"
for pair in "watch/a 1" "watch/b 1" "watch/a 2"; do same "put $pair" "OK" ctl put $pair; done
same "del watch/b" "1" ctl del watch/b

background w-one watch watch/a --rev=$((r0 + 1))
eventually "a key from a revision" $'PUT\nwatch/a\n1\nPUT\nwatch/a\n2' shown w-one
background w-prefix watch watch/ --prefix --rev=$((r0 + 1))
eventually "a prefix from a revision, in order" $'PUT\nwatch/a\n1\nPUT\nwatch/b\n1\nPUT\nwatch/a\n2\nDELETE\nwatch/b' shown w-prefix
background w-middle watch watch/ --prefix --rev=$((r0 + 3))
eventually "… from the middle" $'PUT\nwatch/a\n2\nDELETE\nwatch/b' shown w-middle
background w-prev watch watch/ --prefix --prev-kv --rev=$((r0 + 2))
eventually "--prev-kv" $'PUT\nwatch/b\n1\nPUT\nwatch/a\n1\nwatch/a\n2\nDELETE\nwatch/b\n1\nwatch/b' shown w-prev
background w-range watch watch/b watch/c --rev=$((r0 + 1))
eventually "[key, end)" $'PUT\nwatch/b\n1\nDELETE\nwatch/b' shown w-range
background w-all watch '' --prefix --rev=$((r0 + 4))
eventually "everything" $'DELETE\nwatch/b' shown w-all

# Watches of the present: write until the watch says that it sees, since nothing tells when it listens.
background w-now watch watch/now --prefix
seen_now() { ctl put watch/now/start x > /dev/null; grep -q watch/now/start "$scratch/w-now"; }
holds "a watch of the present sees what comes" until_true seen_now
same "a later put" "OK" ctl put watch/now/last 9
now_tail() { shown w-now | tail -n 3; }
eventually "… is seen, too" $'PUT\nwatch/now/last\n9' now_tail
txn_at_once() { printf '\nput watch/now/t1 1\nput watch/now/t2 2\ndel watch/now/last\n\n\n' | ctl txn > /dev/null; }
holds "a txn of three operations" txn_at_once
txn_tail() { shown w-now | tail -n 9 | grep .; }
eventually "… is seen in the order of its operations" $'PUT\nwatch/now/t1\n1\nPUT\nwatch/now/t2\n2\nDELETE\nwatch/now/last' txn_tail
eventually "a watch opened long ago goes on" $'PUT\nwatch/a\n1\nPUT\nwatch/a\n2' shown w-one

background w-future watch watch/future --rev=$(($(revision) + 3))
sleep 0.2 # so that it stands before the first put; when it does not, the test is weaker but not wrong
for i in 1 2 3 4; do same "put watch/future $i" "OK" ctl put watch/future $i; done
eventually "a start revision in the future is waited for" $'PUT\nwatch/future\n3\nPUT\nwatch/future\n4' shown w-future

background w-exec watch watch/a --rev=$((r0 + 3)) -- env
# The revision is that of the answer's header: etcd's is the present one, ours may be the event's.
exec_seen() { shown w-exec | grep -a '^ETCD_WATCH' | sed 's/REVISION=[0-9][0-9]*/REVISION=N/' | sort; }
eventually "a command per event gets the event" \
    'ETCD_WATCH_EVENT_TYPE="PUT"
ETCD_WATCH_KEY="watch/a"
ETCD_WATCH_REVISION=N
ETCD_WATCH_VALUE="2"' exec_seen

background w-json watch watch/a --rev=$((r0 + 1)) -w json
json_seen() { shown w-json | grep -o '"Events":.*' | head -n 1; }
eventually "-w json" "\"Events\":[{\"kv\":{\"key\":\"d2F0Y2gvYQ==\",\"create_revision\":$((r0 + 1)),\"mod_revision\":$((r0 + 1)),\"version\":1,\"value\":\"MQ==\"}},{\"kv\":{\"key\":\"d2F0Y2gvYQ==\",\"create_revision\":$((r0 + 1)),\"mod_revision\":$((r0 + 3)),\"version\":2,\"value\":\"Mg==\"}}],\"CompactRevision\":0,\"Canceled\":false,\"Created\":false}" json_seen

# Interactive: several watches on one stream, and progress on request.
mkfifo "$scratch/w-in"
ETCDCTL_API=3 "$ETCDCTL" --endpoints="$ENDPOINTS" watch -i < "$scratch/w-in" > "$scratch/w-i" 2>&1 &
interactive=$!
background_pids+=("$interactive")
exec 9> "$scratch/w-in"
say "watch watch/a --rev=$((r0 + 1))" >&9
eventually "watch -i" $'PUT\nwatch/a\n1\nPUT\nwatch/a\n2' shown w-i
say "watch watch/b watch/c --rev=$((r0 + 1))" >&9
interactive_b() { shown w-i | tail -n 6 | grep .; }
eventually "… a second range on the same stream" $'PUT\nwatch/b\n1\nDELETE\nwatch/b' interactive_b
asked() { say progress >&9; grep -a '^progress notify: ' "$scratch/w-i"; }
holds "progress on request is answered" until_true asked
equal "… with the current revision" "progress notify: $(revision)" "$(grep -a '^progress notify: ' "$scratch/w-i" | tail -n 1)"
exec 9>&-
wait "$interactive" 2> /dev/null

stop_background
like "clean" '^[0-9]+$' ctl del '' --from-key
