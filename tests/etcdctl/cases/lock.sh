# lock: around a command, held, contended, and given back by a holder that dies.
# shellcheck shell=bash

same "lock with a command" "hello" ctl lock lock/a echo hello
like "the command is told the key and its revision" $'ETCD_LOCK_KEY=lock/a/[0-9a-f]+\nETCD_LOCK_REV=[0-9]+' ctl lock lock/a env
like "a command that fails" 'exit status 1' bash -c "ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' lock lock/a false; true"
same "… gives the lock back" "" ctl get lock/ --prefix

# Two contenders.
background k-first lock lock/b
first=$beside
held() { [ -s "$scratch/k-first" ]; }
holds "the first gets it" until_true held
matches "… and prints its key" '^lock/b/[0-9a-f]+$' "$(shown k-first)"
background k-second lock lock/b echo mine
second=$beside
waits() { [ "$(ctl get lock/b --prefix --keys-only | grep -c lock/b)" = 2 ]; }
holds "the second stands in line" until_true waits
equal "… and does not have it" "" "$(shown k-second)"
interrupt "$first"
eventually "when the first lets go, the second has it" "mine" shown k-second
wait "$second" 2> /dev/null
eventually "both are gone" "" ctl get lock/ --prefix

# A holder that dies: the lease of its session ends the lock.
background k-dead lock lock/c --ttl=2
dead=$beside
dead_held() { [ -s "$scratch/k-dead" ]; }
holds "a holder" until_true dead_held
kill -9 "$dead" 2> /dev/null
wait "$dead" 2> /dev/null
same "its lock outlives it" "1" bash -c "ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' get lock/c --prefix --keys-only | grep -c lock/c"
background k-heir lock lock/c echo heir
eventually "… until the session's lease ends" "heir" shown k-heir
stop_background
same "clean" "0" ctl del '' --from-key
