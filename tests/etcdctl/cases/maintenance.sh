# endpoint status, health and hashkv as tables, defrag, alarm, move-leader, snapshot save.
# shellcheck shell=bash

n="$(($(tr -dc , <<< "$ENDPOINTS" | wc -c) + 1))"
for i in 1 2 3 4 5; do ctl put "maint/$i" "$i" > /dev/null; done

# A table without its frame and blanks: one row a line, columns divided by |.
rows() { "$@" | sed -n 's/^| *//p' | sed 's/ *| */|/g; s/|$//'; }
column() { local nr="$1"; shift; rows "$@" | tail -n +2 | cut -d'|' -f"$nr"; }
same "endpoint status as a table: columns" "ENDPOINT|ID|VERSION|DB SIZE|IS LEADER|IS LEARNER|RAFT TERM|RAFT INDEX|RAFT APPLIED INDEX|ERRORS" \
    bash -c "$(declare -f rows ctl); ETCDCTL='$ETCDCTL' ENDPOINTS='$ENDPOINTS'; rows ctl endpoint status -w table | head -n 1"
same "… a row for each member" "${ENDPOINTS//,/$'\n'}" column 1 ctl endpoint status -w table
equal "… one leader" "1" "$(column 5 ctl endpoint status -w table | grep -c true)"
equal "… no learner" "$n" "$(column 6 ctl endpoint status -w table | grep -c false)"
equal "… ids that differ" "$n" "$(column 2 ctl endpoint status -w table | sort -u | wc -l)"
equal "… one term" "1" "$(column 7 ctl endpoint status -w table | sort -u | wc -l)"
matches "… a version" '^3\.[0-9]+\.[0-9]+$' "$(column 3 ctl endpoint status -w table | sort -u)"
equal "… no errors" "" "$(column 10 ctl endpoint status -w table | tr -d '\n ')"
like "endpoint status as JSON" '"Status":\{"header":\{"cluster_id":[0-9]+,"member_id":[0-9]+,"revision":[0-9]+,"raft_term":[0-9]+\},"version":"[0-9.]+","dbSize":[0-9]+,"leader":[0-9]+,"raftIndex":[0-9]+,"raftTerm":[0-9]+,"raftAppliedIndex":[0-9]+,"dbSizeInUse":[0-9]+' ctl endpoint status -w json
cluster_rows() { ctl_at "${ENDPOINTS%%,*}" endpoint status --cluster | grep -cE '^http[^,]*, [0-9a-f]+, [0-9.]+, [^,]*B, (true|false), false, [0-9]+, [0-9]+, [0-9]+, *$'; }
same "endpoint status --cluster finds the members by itself" "$n" cluster_rows
healthy() { ctl endpoint health 2>&1 | without_logs | sort | sed 's/: took.*//'; }
same "endpoint health" "$(for at in ${ENDPOINTS//,/ }; do say "$at is healthy: successfully committed proposal"; done | sort)" healthy
same "endpoint health as a table" "$(tr , '\n' <<< "$ENDPOINTS" | sort | sed 's/$/|true/')" \
    bash -c "$(declare -f rows ctl); ETCDCTL='$ETCDCTL' ENDPOINTS='$ENDPOINTS'; rows ctl endpoint health -w table | tail -n +2 | cut -d'|' -f1,2 | sort"
hashes() { column 2 ctl endpoint hashkv -w table | sort -u | wc -l; }
eventually "endpoint hashkv as a table: all equal" "1" hashes
same "… a row for each member" "${ENDPOINTS//,/$'\n'}" column 1 ctl endpoint hashkv -w table
past="$(revision)"
hash_then() { ctl endpoint hashkv --rev="$past" | cut -d, -f2 | sort -u; }
then="$(hash_then)"
ctl put maint/later 1 > /dev/null
equal "the hash of a past revision does not change" "$then" "$(hash_then)"

same "defrag" "$(for at in ${ENDPOINTS//,/ }; do say "Finished defragmenting etcd member[$at]"; done)" ctl defrag
same "alarm list" "" ctl alarm list
same "alarm disarm" "" ctl alarm disarm

# The leader's role goes to a member of our choice.
leader_at() { ctl endpoint status | awk -F', ' '$5 == "true" { print $1 }'; }
leader_id() { ctl endpoint status | awk -F', ' '$5 == "true" { print $2 }'; }
old_at="$(leader_at)" old_id="$(leader_id)"
other_id="$(ctl endpoint status | awk -F', ' '$5 == "false" { print $2; exit }')"
other_at="$(ctl endpoint status | awk -F', ' '$5 == "false" { print $1; exit }')"
refused "move-leader at a follower alone" "Error: no leader endpoint given at [${other_at}]" ctl_at "$other_at" move-leader "$old_id"
same "move-leader" "Leadership transferred from $old_id to $other_id" ctl move-leader "$other_id"
eventually "… is seen by status" "$other_id" leader_id
same "a write after it" "OK" ctl put maint/after 1
same "… and back" "Leadership transferred from $other_id to $old_id" ctl_at "$other_at" move-leader "$old_id"
eventually "… is seen by status, too" "$old_at" leader_at

refused "snapshot save at several members" "Error: snapshot must be requested to one selected node, not multiple [${ENDPOINTS//,/ }]" ctl snapshot save "$scratch/snap"
for at in ${ENDPOINTS//,/ }; do
    same "snapshot save at $at" "Snapshot saved at $scratch/snap" ctl_at "$at" snapshot save "$scratch/snap"
    # The file ends with the SHA-256 of all before it: save checks it, so do we.
    size="$(stat -c %s "$scratch/snap")"
    equal "… its checksum" "$(head -c $((size - 32)) "$scratch/snap" | sha256sum | cut -d' ' -f1)" "$(tail -c 32 "$scratch/snap" | od -An -v -tx1 | tr -d ' \n')"
    rm -f "$scratch/snap"
done
like "clean" '^[0-9]+$' ctl del '' --from-key
