# member list, add, add as a learner, promote, update, remove. Starts a fourth member by $SERVER_BIN.
# shellcheck shell=bash

n="$(ctl member list | wc -l)"
like "list" '^[0-9a-f]+, started, [^,]+, http[^,]+, http[^,]+, false$' bash -c "ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' member list | head -n 1"
like "list as a table" '^\+-.*\|        ID        \| STATUS  \| NAME \|.*PEER ADDRS.*CLIENT ADDRS.*IS LEARNER \|' ctl member list -w table
like "list as JSON" '"members":\[\{"ID":[0-9]+,"name":"[^"]+","peerURLs":\["http[^"]+"\],"clientURLs":\["http[^"]+"\]\}' ctl member list -w json
refused "add without peer URLs" "Error: member peer urls not provided" ctl member add x
refused "add with a URL without a scheme" "Error: URL scheme must be http, https, unix, or unixs: foo" ctl member add x --peer-urls=foo

if [ -z "$SERVER_BIN" ]; then
    skip "add, promote, update, remove" "SERVER_BIN is not set"
else
    ctl put members/a 1 > /dev/null
    member_of() { ctl member list | grep -F "$1" | cut -d, -f1; }
    initial() { sed -n 's/^ETCD_INITIAL_CLUSTER="\(.*\)"$/\1/p' "$scratch/added"; }
    # etcd wants to have seen all peers for five seconds before it changes members.
    add() {
        ctl member add "$@" > "$scratch/added" 2>&1 || { grep -aq 'unhealthy cluster' "$scratch/added" || return 0; return 1; }
    }

    # A learner.
    free_port; client="$port"
    free_port; peer="$port"
    holds "add --learner is accepted" until_true add n4 --learner --peer-urls="http://127.0.0.1:$peer"
    matches "… and says so" '^Member +[0-9a-f]+ added to cluster +[0-9a-f]+' "$(without_logs < "$scratch/added")"
    matches "… and how to start it" 'ETCD_NAME="n4".*ETCD_INITIAL_CLUSTER=".*n4=http://127.0.0.1:'"$peer"'.*".*ETCD_INITIAL_ADVERTISE_PEER_URLS="http://127.0.0.1:'"$peer"'".*ETCD_INITIAL_CLUSTER_STATE="existing"' "$(tr '\n' ' ' < "$scratch/added")"
    id="$(member_of ":$peer")"
    like "… and lists it" "$id, unstarted, , http://127.0.0.1:$peer, , true" ctl member list
    refused "a second learner" "Error: etcdserver: too many learner members in cluster" ctl member add n5 --learner --peer-urls=http://127.0.0.1:1
    # The ID is made of URLs and seconds: within the same second etcd names the ID instead.
    refused_like "peer URLs that are taken" '^Error: etcdserver: (Peer URLs already exists|member ID already exist)$' ctl member add n5 --peer-urls="http://127.0.0.1:$peer"
    refused "a learner that never came cannot be promoted" "Error: etcdserver: can only promote a learner member which is in sync with leader" ctl member promote "$id"
    start_member n4 "$client" "$peer" "$(initial)" existing
    n4=$started_pid
    listed() { ctl member list | grep -F ":$peer"; }
    eventually "it starts and is listed" "$id, started, n4, http://127.0.0.1:$peer, http://127.0.0.1:$client, true" listed
    at="http://127.0.0.1:$client"
    eventually "it catches up (serializable get)" $'members/a\n1' ctl_at "$at" get members/a --consistency=s
    refused "a learner serves no linearizable get" "Error: etcdserver: rpc not supported for learner" ctl_at "$at" get members/a
    refused "a learner takes no put" "Error: etcdserver: rpc not supported for learner" ctl_at "$at" put members/a 2
    like "status of a learner" ', false, true, ' ctl_at "$at" endpoint status
    # etcdctl pads both with blanks to 16 digits: one id in sixteen is shorter.
    cluster="$(sed -n 's/^Member *[0-9a-f]* added to cluster *\([0-9a-f]*\)$/\1/p' "$scratch/added")"
    promoted="$(printf 'Member %16s promoted in cluster %16s' "$id" "$cluster")"
    eventually "promote" "$promoted" ctl member promote "$id"
    eventually "… is listed as a voter" "$id, started, n4, http://127.0.0.1:$peer, http://127.0.0.1:$client, false" listed
    eventually "it serves linearizable gets" $'members/a\n1' ctl_at "$at" get members/a
    eventually "it takes puts" "OK" ctl_at "$at" put members/a 2
    same "seen by all" $'members/a\n2' ctl get members/a
    four_hashes() { ctl_at "$ENDPOINTS,$at" endpoint hashkv | cut -d, -f2 | sort -u | wc -l; }
    eventually "four equal hashes" "1" four_hashes

    # Out again.
    like "remove" "^Member +$id removed from cluster +[0-9a-f]+\$" ctl member remove "$id"
    same "… is listed no more" "$n" bash -c "ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' member list | wc -l"
    gone() { ! kill -0 "$n4"; }
    holds "… and its process ends by itself" until_true gone
    refused "remove again" "Error: etcdserver: member not found" ctl member remove "$id"
    same "a write goes on" "OK" ctl put members/a 3

    # A voter that was never started can be updated and removed.
    free_port; peer="$port"
    holds "add a voter" until_true add n5 --peer-urls="http://127.0.0.1:$peer"
    id="$(member_of ":$peer")"
    free_port; peer="$port"
    like "update" "^Member +$id updated in cluster +[0-9a-f]+\$" ctl member update "$id" --peer-urls="http://127.0.0.1:$peer"
    like "… is listed" "$id, unstarted, , http://127.0.0.1:$peer, , false" ctl member list
    refused "update to taken URLs" "Error: etcdserver: Peer URLs already exists" ctl member update "$id" --peer-urls="$(ctl member list | grep -v "$id" | head -n 1 | cut -d' ' -f4 | tr -d ,)"
    eventually "remove it" "$n" bash -c "ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' member remove $id > /dev/null 2>&1; ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' member list | wc -l"
fi
like "clean" '^[0-9]+$' ctl del '' --from-key
