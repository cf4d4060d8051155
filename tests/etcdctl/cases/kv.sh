# put, get and del with their options.
# shellcheck shell=bash
r0="$(revision)"

same "put answers OK" "OK" ctl put kv/a 1
same "put of a new key with --prev-kv shows nothing more" "OK" ctl put kv/b 2 --prev-kv
same "put with --prev-kv shows the value before" $'OK\nkv/a\n1' ctl put kv/a 3 --prev-kv
same "every put is one revision" "$((r0 + 3))" revision
same "put takes the value from standard input" "OK" bash -c "printf 'from stdin' | ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' put kv/stdin"
same "get" $'kv/stdin\nfrom stdin' ctl get kv/stdin
same "put --ignore-value keeps the value" "OK" ctl put kv/stdin --ignore-value
same "… and is a new version" "2" bash -c "$(declare -f ctl field); ETCDCTL='$ETCDCTL' ENDPOINTS='$ENDPOINTS'; ctl get kv/stdin -w fields | field Version"
same "del answers how many" "1" ctl del kv/stdin
for i in 1 2 3 4 5; do same "put kv/n$i" "OK" ctl put "kv/n$i" "$((9 - i))"; done
same "put kv/n2 again" "OK" ctl put kv/n2 z

same "get of a missing key prints nothing" "" ctl get kv/missing
same "get --print-value-only" "3" ctl get kv/a --print-value-only
same "get --keys-only" $'kv/n1\n\nkv/n2' ctl get kv/n1 kv/n3 --keys-only
same "get of [key, end)" $'kv/n1\n8\nkv/n2\nz' ctl get kv/n1 kv/n3
same "get of an empty range" "" ctl get kv/n3 kv/n1
same "get --prefix" $'kv/n1\n8\nkv/n2\nz\nkv/n3\n6\nkv/n4\n5\nkv/n5\n4' ctl get kv/n --prefix
same "get --prefix --limit" $'kv/n1\n8\nkv/n2\nz' ctl get kv/n --prefix --limit=2
same "get --from-key" $'kv/n4\n5\nkv/n5\n4' ctl get kv/n4 --from-key
same "get '' --from-key --limit" $'kv/a\n3' ctl get '' --from-key --limit=1
same "get '' --prefix is everything" $'kv/a\nkv/b\nkv/n1\nkv/n2\nkv/n3\nkv/n4\nkv/n5' \
    bash -c "ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' get '' --prefix --keys-only | grep ."
same "get --order=DESCEND" $'5\n4\n3\n2\n1' \
    bash -c "ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' get kv/n --prefix --keys-only --order=DESCEND | sed -n 's,kv/n,,p'"
order_by() { ctl get kv/n --prefix --keys-only "$@" | sed -n 's,kv/n,,p' | tr -d '\n'; }
same "get --sort-by=KEY" "12345" order_by --sort-by=KEY
same "get --sort-by=VALUE" "54312" order_by --sort-by=VALUE
same "get --sort-by=VALUE --order=DESCEND" "21345" order_by --sort-by=VALUE --order=DESCEND
same "get --sort-by=CREATE --order=DESCEND" "54321" order_by --sort-by=CREATE --order=DESCEND
same "get --sort-by=MODIFY" "13452" order_by --sort-by=MODIFY
same "get --sort-by=MODIFY --order=DESCEND --limit" "25" order_by --sort-by=MODIFY --order=DESCEND --limit=2
same "get --sort-by=VERSION --order=DESCEND --limit" "2" order_by --sort-by=VERSION --order=DESCEND --limit=1
same "get --rev reads the past" $'kv/a\n1' ctl get kv/a --rev=$((r0 + 1))
same "get --rev before the key was there" "" ctl get kv/b --rev=$((r0 + 1))
same "get --rev of a deleted key" $'kv/stdin\nfrom stdin' ctl get kv/stdin --rev=$((r0 + 4))
same "get --prefix --rev" $'kv/a\n3\nkv/b\n2\nkv/stdin\nfrom stdin' ctl get kv/ --prefix --rev=$((r0 + 5))
same "get --consistency=s" $'kv/a\n3' ctl get kv/a --consistency=s
for at in ${ENDPOINTS//,/ }; do
    same "a linearizable get at $at sees the last write" $'kv/n2\nz' ctl_at "$at" get kv/n2
    eventually "a serializable get at $at sees it in the end" $'kv/n2\nz' ctl_at "$at" get kv/n2 --consistency=s
done
same "get --hex" $'\\x6b\\x76\\x2f\\x62\n\\x32' ctl get kv/b --hex
like "get -w json" '^\{"header":\{"cluster_id":[0-9]+,"member_id":[0-9]+,"revision":[0-9]+,"raft_term":[0-9]+\},"kvs":\[\{"key":"a3YvYQ==","create_revision":'$((r0 + 1))',"mod_revision":'$((r0 + 3))',"version":2,"value":"Mw=="\}\],"count":1\}$' ctl get kv/a -w json
page() { ctl get kv/n --prefix --limit=2 -w fields | grep -e '"More"' -e '"Count"'; }
same "a page says that there is more, and of how many" $'"More" : true\n"Count" : 5' page
like "get -w protobuf is not empty" '.' ctl get kv/a -w protobuf
same "count by keys-only and fields" '"Count" : 5' bash -c "ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' get kv/n --prefix --keys-only --limit=1 -w fields | grep Count"
same "binary values survive" "000102ff" bash -c "printf '\\000\\001\\002\\377' | ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' put kv/bin > /dev/null; ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' get kv/bin --print-value-only | head -c 4 | od -An -tx1 | tr -d ' '"

before="$(revision)"
same "del of a missing key" "0" ctl del kv/missing
equal "… takes no revision" "$before" "$(revision)"
same "del --prev-kv" $'1\nkv/bin\n\x01\x02' bash -c "ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' del kv/bin --prev-kv | tr -d '\\000\\377'"
same "del of [key, end) --prev-kv" $'2\nkv/n1\n8\nkv/n2\nz' ctl del kv/n1 kv/n3 --prev-kv
equal "a del of many keys is one revision" "$((before + 2))" "$(revision)"
same "del --from-key" "1" ctl del kv/n5 --from-key
same "del --prefix" "4" ctl del kv/ --prefix
same "nothing is left" "" ctl get '' --from-key
same "del --prefix of nothing" "0" ctl del kv/ --prefix
same "a key that comes back starts at version 1" "1" bash -c "$(declare -f ctl field); ETCDCTL='$ETCDCTL' ENDPOINTS='$ENDPOINTS'; ctl put kv/a new > /dev/null; ctl get kv/a -w fields | field Version"
same "clean" "1" ctl del '' --from-key
