# elect: a leader, a follower that waits, an observer that sees both.
# shellcheck shell=bash

background e-watch elect --listen elect/a
background e-one elect elect/a first
one=$beside
leads() { shown "$1" | sed 's,^elect/a/[0-9a-f]*$,KEY,'; }
eventually "the first leads" $'KEY\nfirst' leads e-one
eventually "the observer sees it" $'KEY\nfirst' leads e-watch
background e-two elect elect/a second
waits() { [ "$(ctl get elect/a --prefix --keys-only | grep -c elect/a)" = 2 ]; }
holds "the second stands in line" until_true waits
equal "… and does not lead" "" "$(shown e-two)"
interrupt "$one"
eventually "when the first resigns, the second leads" $'KEY\nsecond' leads e-two
eventually "the observer sees it, too" $'KEY\nfirst\nKEY\nsecond' leads e-watch
stop_background
eventually "nobody leads" "" ctl get elect/ --prefix
