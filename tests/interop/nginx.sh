#!/usr/bin/env bash
# Runs nginx without privileges as a TLS server that asks for client certificates of one root.
#
#   nginx.sh LISTEN DIR CERT KEY ROOT
#
# LISTEN: 127.0.0.1:PORT, or unix:/PATH. DIR: a directory that is there, for its own files. CERT: the server's certificate
# and chain, with KEY. ROOT: who may sign clients. All paths absolute, all PEM.
# Prints `ready` once it listens, or nginx's complaint and exits 1. It ends when stdin does.
set -euo pipefail
PATH=$PATH:/usr/sbin

listen=$1 dir=$2 cert=$3 key=$4 root=$5
here=$(cd "$(dirname "$0")" && pwd)
sed -e "s|@LISTEN@|$listen|" -e "s|@DIR@|$dir|" -e "s|@CERT@|$cert|" -e "s|@KEY@|$key|" -e "s|@ROOT@|$root|" \
    "$here/nginx.conf.in" >"$dir/nginx.conf"

# The pid file is written when the sockets are open.
rm -f "$dir/nginx.pid"
nginx -e stderr -p "$dir" -c "$dir/nginx.conf" </dev/null &
nginx=$!
trap 'kill "$nginx" 2>/dev/null || true; wait "$nginx" 2>/dev/null || true' EXIT
for _ in {1..100}; do
    kill -0 "$nginx" 2>/dev/null || exit 1
    if [ -s "$dir/nginx.pid" ]; then
        echo ready
        cat >/dev/null
        exit 0
    fi
    sleep 0.05
done
echo "nginx does not listen on $listen" >&2
exit 1
