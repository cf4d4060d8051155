# What is refused, in the exact words that clients match on.
# shellcheck shell=bash

e="Error: etcdserver:"
refused "put without a key" "$e key is not provided" ctl put "" v
refused "get without a key" "$e key is not provided" ctl get ""
refused "del without a key" "$e key is not provided" ctl del ""
refused "put --ignore-value of a missing key" "$e key not found" ctl put errors/none --ignore-value
refused "put --ignore-lease of a missing key" "$e key not found" ctl put errors/none v --ignore-lease
refused "put with an unknown lease" "$e requested lease not found" ctl put errors/none v --lease=7b
big() { head -c "$1" /dev/zero | tr '\0' x | ctl put errors/big; }
refused "a value of 1.6 MB" "$e request is too large" big 1600000
same "a value of 1.5 MB" "OK" big 1500000
refused "member remove of an unknown one" "$e member not found" ctl member remove 123
refused "member promote of an unknown one" "$e member not found" ctl member promote 123
refused "member update of an unknown one" "$e member not found" ctl member update 123 --peer-urls=http://127.0.0.1:1
refused "member promote of a voter" "$e can only promote a learner member" ctl member promote "$(ctl member list | head -n 1 | cut -d, -f1)"
refused "move-leader to nobody" "$e bad leader transferee" ctl move-leader 123
refused "hashkv of the future" "$(for at in ${ENDPOINTS//,/ }; do say "Failed to get the hash of endpoint $at (etcdserver: mvcc: required revision is a future revision)"; done)
$e mvcc: required revision is a future revision" ctl endpoint hashkv --rev=99999999
# We do not offer users and roles yet, and say so.
refused_like "auth enable without root" '^Error: (etcdserver: root user does not exist|rpc error: code = Unimplemented desc = .+)$' ctl auth enable
if port_is_taken 9; then skip "a port where nobody listens" "port 9 is taken"; else
    like "a port where nobody listens" 'Error: (context deadline exceeded|.*connection refused.*)' bash -c "ETCDCTL_API=3 '$ETCDCTL' --endpoints=127.0.0.1:9 --dial-timeout=500ms --command-timeout=1s put a b 2>&1; true"
fi
like "clean" '^[0-9]+$' ctl del '' --from-key
