# Compaction: what is gone, what stays, and how it is said.
# shellcheck shell=bash

for i in 1 2 3 4; do ctl put compact/a "$i" > /dev/null; done
ctl put compact/gone 1 > /dev/null
ctl del compact/gone > /dev/null
last="$(revision)"
at=$((last - 3)) # compact/a = 3
same "compaction" "compacted revision $at" ctl compaction "$at"
refused "the same again" "Error: etcdserver: mvcc: required revision has been compacted" ctl compaction "$at"
refused "an older one" "Error: etcdserver: mvcc: required revision has been compacted" ctl compaction $((at - 1))
refused "a future one" "Error: etcdserver: mvcc: required revision is a future revision" ctl compaction $((last + 100))
refused "get before it" "Error: etcdserver: mvcc: required revision has been compacted" ctl get compact/a --rev=$((at - 1))
refused "get in the future" "Error: etcdserver: mvcc: required revision is a future revision" ctl get compact/a --rev=$((last + 100))
same "get at it" $'compact/a\n3' ctl get compact/a --rev="$at"
same "get after it" $'compact/gone\n1' ctl get compact/gone --rev=$((last - 1))
same "get now" $'compact/a\n4' ctl get compact/a
refused "watch from before it" $'watch was canceled (etcdserver: mvcc: required revision has been compacted)\nError: watch is canceled by the server' ctl watch compact/a --rev=$((at - 1))
background c-watch watch compact/ --prefix --rev=$((at + 1))
eventually "watch from after it" $'PUT\ncompact/a\n4\nPUT\ncompact/gone\n1\nDELETE\ncompact/gone' shown c-watch
same "compaction --physical" "compacted revision $last" ctl compaction "$last" --physical
same "the present is as it was" $'compact/a\n4' ctl get compact/ --prefix
ctl put compact/a 5 > /dev/null
eventually "a running watch goes on" $'PUT\ncompact/a\n4\nPUT\ncompact/gone\n1\nDELETE\ncompact/gone\n\nPUT\ncompact/a\n5' shown c-watch
stop_background
like "clean" '^[0-9]+$' ctl del '' --from-key
