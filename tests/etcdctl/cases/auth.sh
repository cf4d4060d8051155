# Users, roles and permissions: the commands of docs/guide/auth.md, and what they keep out.
# shellcheck shell=bash

as() { ctl --user="$1" "${@:2}"; }

same "put something to read" "OK" ctl put app/a 1
same "and something else" "OK" ctl put other 2
same "user add root" "User root created" ctl user add root --new-user-password=secret
same "role add root" "Role root created" ctl role add root
same "user grant-role root root" "Role root is granted to user root" ctl user grant-role root root
same "user add ann" "User ann created" ctl user add ann --new-user-password=word
same "user add --no-password" "User cert created" ctl user add cert --no-password
same "role add reader" "Role reader created" ctl role add reader
same "role grant-permission --prefix" "Role reader updated" ctl role grant-permission reader read app/ --prefix
same "user grant-role ann reader" "Role reader is granted to user ann" ctl user grant-role ann reader
same "user list" $'ann\ncert\nroot' ctl user list
same "role list" $'reader\nroot' ctl role list
like "role get" 'app/, app0' ctl role get reader
like "user get" 'Roles: reader' ctl user get ann
same "auth enable" "Authentication Enabled" ctl auth enable

refused_like "nobody reads" 'user name is empty' ctl get app/a
refused_like "a wrong password" 'authentication failed, invalid user ID or password' as ann:wrong get app/a
refused_like "a user without a password has none" 'authentication failed' as cert:x get app/a
same "ann reads what she may" $'app/a\n1' as ann:word get app/ --prefix
refused_like "and nothing else" 'permission denied' as ann:word get other
refused_like "not even as part of more" 'permission denied' as ann:word get app/ --from-key
refused_like "and writes nothing" 'permission denied' as ann:word put app/a 3
refused_like "no user but root adds users" 'permission denied' as ann:word user add eve --new-user-password=x
same "root reads all" $'other\n2' as root:secret get other
same "role grant-permission" "Role reader updated" as root:secret role grant-permission reader readwrite other
same "what is granted is there at once" "OK" as ann:word put other 3
same "role revoke-permission" "Permission of key other is revoked from role reader" \
    as root:secret role revoke-permission reader other
refused_like "what is revoked is gone at once" 'permission denied' as ann:word get other
refused_like "root stays" 'invalid auth management' as root:secret user delete root
same "user passwd" "Password updated" bash -c \
    "echo new | ETCDCTL_API=3 '$ETCDCTL' --endpoints='$ENDPOINTS' --user=root:secret user passwd ann --interactive=false"
refused_like "the old password is none any more" 'authentication failed' as ann:word get app/a
same "the new one is" $'app/a\n1' as ann:new get app/a
same "auth disable" "Authentication Disabled" as root:secret auth disable
same "everybody reads again" $'other\n3' ctl get other
same "role delete" "Role reader deleted" ctl role delete reader
same "user delete" "User ann deleted" ctl user delete ann
for user in cert root; do same "user delete $user" "User $user deleted" ctl user delete "$user"; done
same "role delete root" "Role root deleted" ctl role delete root
same "del" "2" bash -c "$(declare -f ctl); ETCDCTL='$ETCDCTL' ENDPOINTS='$ENDPOINTS'; ctl del app/a > /dev/null; ctl del other > /dev/null; echo 2"
