# Leases: grant, look, keep alive, expire, revoke.
# shellcheck shell=bash

grant() { ctl lease grant "$1" | cut -d' ' -f2; }
like "grant" '^lease [0-9a-f]{16} granted with TTL\(60s\)$' ctl lease grant 60
like "the smallest TTL is 2 s (1.5 election timeouts)" 'granted with TTL\(2s\)$' ctl lease grant 1
id="$(grant 100)"
same "put with a lease" "OK" ctl put lease/a 1 --lease="$id"
same "… and another" "OK" ctl put lease/b 1 --lease="$id"
like "timetolive" "^lease $id granted with TTL\(100s\), remaining\((100|9[0-9])s\)\$" ctl lease timetolive "$id"
# etcd lists the attached keys in no order.
like "timetolive --keys" "^lease $id granted with TTL\(100s\), remaining\((100|9[0-9])s\), attached keys\(\[(lease/a lease/b|lease/b lease/a)\]\)\$" ctl lease timetolive "$id" --keys
like "list" "^found [0-9]+ leases(.|[[:space:]])*$id" ctl lease list
like "the key knows its lease" "\"Lease\" : $((16#$id))" ctl get lease/a -w fields
same "keep-alive --once" "lease $id keepalived with TTL(100)" ctl lease keep-alive --once "$id"
for at in ${ENDPOINTS//,/ }; do same "keep-alive at $at" "lease $id keepalived with TTL(100)" ctl_at "$at" lease keep-alive --once "$id"; done
for at in ${ENDPOINTS//,/ }; do like "timetolive at $at" "^lease $id granted" ctl_at "$at" lease timetolive "$id"; done
same "a put without a lease detaches" "OK" ctl put lease/b 2
like "… seen by timetolive --keys" 'attached keys\(\[lease/a\]\)' ctl lease timetolive "$id" --keys
same "put --ignore-lease keeps the lease" "OK" ctl put lease/a 2 --ignore-lease
like "… seen by timetolive --keys" 'attached keys\(\[lease/a\]\)' ctl lease timetolive "$id" --keys
before="$(revision)"
same "revoke" "lease $id revoked" ctl lease revoke "$id"
same "… takes its keys along" $'lease/b\n2' ctl get lease/ --prefix
equal "… in one revision" "$((before + 1))" "$(revision)"
same "timetolive of what is gone" "lease $id already expired" ctl lease timetolive "$id"
refused "revoke of what is gone" "Error: failed to revoke lease (etcdserver: requested lease not found)" ctl lease revoke "$id"
refused "keep-alive of what is gone" "Error: etcdserver: requested lease not found" ctl lease keep-alive --once "$id"
refused "put with what is gone" "Error: etcdserver: requested lease not found" ctl put lease/a 1 --lease="$id"
refused "a TTL beyond the limit" "Error: failed to grant lease (etcdserver: too large lease TTL)" ctl lease grant 9000000001
before="$(revision)"
id="$(grant 60)"
ctl lease revoke "$id" > /dev/null
equal "a lease without keys costs no revision" "$before" "$(revision)"

# Expiry: three keys of one lease go at one revision, and a watch sees it.
id="$(grant 2)"
for key in c b a; do ctl put "lease/x/$key" 1 --lease="$id" > /dev/null; done
before="$(revision)"
background l-watch watch lease/x/ --prefix --rev=$((before + 1))
background l-alive lease keep-alive "$id"
alive() { grep -c "keepalived with TTL(2)" "$scratch/l-alive"; }
eventually "keep-alive keeps on" 4 alive
same "… and the keys beyond their TTL" $'lease/x/a\nlease/x/b\nlease/x/c' bash -c "ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' get lease/x/ --prefix --keys-only | grep ."
interrupt "$beside"
eventually "without it the keys go" "" ctl get lease/x/ --prefix
eventually "… and a watch sees them go in order" $'DELETE\nlease/x/a\n\nDELETE\nlease/x/b\n\nDELETE\nlease/x/c' shown l-watch
equal "… in one revision" "$((before + 1))" "$(revision)"
same "the lease is gone" "lease $id already expired" ctl lease timetolive "$id"
stop_background
for id in $(ctl lease list | grep -v found); do ctl lease revoke "$id" > /dev/null; done
same "no lease is left" "found 0 leases" ctl lease list
like "clean" '^[0-9]+$' ctl del '' --from-key
