#!/bin/sh
# The echo service inside xinetd, on a port of one's own: sh xinetd.sh PORT
set -eu
directory=$(mktemp -d)
cat > "$directory/xinetd.conf" <<CONF
service echo
{
    type = INTERNAL UNLISTED
    id = echo-stream
    socket_type = stream
    protocol = tcp
    port = $1
    bind = 127.0.0.1
    user = root
    wait = no
    instances = UNLIMITED
    per_source = UNLIMITED
    cps = 1000000 1
}
CONF
exec xinetd -dontfork -f "$directory/xinetd.conf" -pidfile "$directory/pid" -filelog "$directory/log"
