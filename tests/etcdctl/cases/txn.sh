# Transactions, spoken to as a person would: compares, an empty line, then, an empty line, else.
# shellcheck shell=bash

# txn LINES...: one transaction read from standard input.
txn() { printf '%s\n' "$@" | ctl txn; }
branch() { txn "$1" "" "get txn/yes --print-value-only" "" "get txn/no --print-value-only" "" | head -n 1; }

same "put txn/a" "OK" ctl put txn/a 5
created="$(ctl get txn/a -w fields | field CreateRevision)"
same "put txn/a again" "OK" ctl put txn/a 7
modified="$(ctl get txn/a -w fields | field ModRevision)"

same "then branch" $'SUCCESS\n\nOK\n\ntxn/c\n1' txn 'val("txn/a") = "7"' "" "put txn/c 1" "get txn/c" "" "put txn/c 2" ""
same "else branch" $'FAILURE\n\nOK' txn 'val("txn/a") = "8"' "" "put txn/c 1" "get txn/c" "" "put txn/c 2" ""
same "… took effect" $'txn/c\n2' ctl get txn/c
same "txn -i prints its questions" $'compares:\nsuccess requests (get, put, del):\nfailure requests (get, put, del):\nSUCCESS\n\nOK' \
    bash -c "printf '\nput txn/i 1\n\n\n' | ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' txn -i"

same "value =" SUCCESS branch 'val("txn/a") = "7"'
same "value !=" FAILURE branch 'val("txn/a") != "7"'
same "value <" SUCCESS branch 'value("txn/a") < "8"'
same "value > is by bytes" FAILURE branch 'value("txn/a") > "70"'
same "version =" SUCCESS branch 'ver("txn/a") = "2"'
same "version >" FAILURE branch 'version("txn/a") > "2"'
same "version <" SUCCESS branch 'version("txn/a") < "3"'
same "version !=" SUCCESS branch 'version("txn/a") != "1"'
same "create =" SUCCESS branch "create(\"txn/a\") = \"$created\""
same "create <" FAILURE branch "c(\"txn/a\") < \"$created\""
same "mod =" SUCCESS branch "mod(\"txn/a\") = \"$modified\""
same "mod >" SUCCESS branch "m(\"txn/a\") > \"$created\""
same "mod !=" FAILURE branch "mod(\"txn/a\") != \"$modified\""
# etcdctl 3.4 itself panics on every `lease(…)` compare ("bad value"); the crate tests cover that one.
same "a missing key has version 0" SUCCESS branch 'ver("txn/missing") = "0"'
same "a missing key has create revision 0" SUCCESS branch 'create("txn/missing") = "0"'
same "a missing key has no value: =" FAILURE branch 'val("txn/missing") = ""'
same "a missing key has no value: !=" FAILURE branch 'val("txn/missing") != "x"'
same "two compares, one false" $'FAILURE' bash -c "$(declare -f txn ctl); ETCDCTL='$ETCDCTL' ENDPOINTS='$ENDPOINTS'; txn 'val(\"txn/a\") = \"7\"' 'ver(\"txn/a\") = \"1\"' '' '' ''"

before="$(revision)"
same "many operations" $'SUCCESS\n\nOK\n\nOK\n\ntxn/x\n1\n\n1\n\n0' txn "" "put txn/x 1" "put txn/y 2" "get txn/x" "del txn/c" "del txn/z" "" ""
equal "… are one revision" "$((before + 1))" "$(revision)"
same "a txn that only reads" $'SUCCESS\n\ntxn/x\n1' txn "" "get txn/x" "" ""
equal "… takes no revision" "$((before + 1))" "$(revision)"
same "later operations see earlier ones" $'SUCCESS\n\n1\n\ntxn/a\n7\ntxn/i\n1\ntxn/y\n2\n\nOK' txn "" "del txn/x" "get txn/ --prefix" "put txn/q 1" "" ""
same "two deletes of one key" $'SUCCESS\n\n1\n\n0' txn "" "del txn/q" "del txn/q" "" ""
same "txn with an empty branch" "SUCCESS" txn 'ver("txn/missing") = "0"' "" "" "put txn/no 1" ""

refused "two puts of one key" "Error: etcdserver: duplicate key given in txn request" txn "" "put txn/d 1" "put txn/d 2" "" ""
refused "a put inside a deleted range" "Error: etcdserver: duplicate key given in txn request" txn "" "put txn/d 1" "del txn/ --prefix" "" ""
refused "… also in the branch not taken" "Error: etcdserver: duplicate key given in txn request" txn "" "" "put txn/d 1" "put txn/d 2" ""
if [[ "$(server_version)" =~ ^3\.4\.([0-9]|[12][0-9]|3[0-3])$ ]]; then
    # Bug 18667 of that etcd: followers keep the put, the leader does not, and the members differ from then on.
    skip "a future revision aborts all" "this etcd's members would diverge"
else
    refused "a future revision aborts all" "Error: etcdserver: mvcc: required revision is a future revision" txn "" "put txn/abort 1" "get txn/a --rev=99999999" "" ""
    same "… nothing was written" "" ctl get txn/abort
fi
refused "an unknown lease aborts all" "Error: etcdserver: requested lease not found" txn "" "put txn/abort 1" "put txn/abort2 1 --lease=1234" "" ""
same "… nothing was written, either" "" ctl get txn/abort --prefix
many() { printf 'put txn/m%s 1\n' $(seq "$1"); }
too_many() { { echo; many 129; echo; echo; } | ctl txn; }
as_many_as_allowed() { { echo; many 128; echo; echo; } | ctl txn | grep -c OK; }
refused "129 operations" "Error: etcdserver: too many operations in txn request" too_many
same "128 operations" "128" as_many_as_allowed
like "clean" '^[0-9]+$' ctl del '' --from-key
