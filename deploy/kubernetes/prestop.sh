#!/bin/sh
# The preStop hook of a Kafka broker or ZooKeeper server in a StatefulSet: makes the clients of every sidecar leave the member
# before it gets SIGTERM. `evenkeel hook prestop` does the same, as one static binary for images without a shell.
#
# It fails open: whatever happens, it ends with 0 after PRESTOP_TIMEOUT_S, since the pod ends in any case. That time must be
# less than terminationGracePeriodSeconds, with room for the server's own shutdown.
#
#   POD_NAME            from the downward API: kafka-2
#   PRESTOP_CLUSTER     the cluster's name in the sidecars' configuration
#   PRESTOP_SIDECARS    admin listeners, separated by commas: 127.0.0.1:9901,…
#   PRESTOP_MEMBER      the member's id there; {pod} and {ordinal} stand for parts of POD_NAME. [{ordinal}, right for brokers whose
#                       node.id is the ordinal; for ZooKeeper such as {pod}.zk.default.svc.cluster.local:2181]
#   PRESTOP_TIMEOUT_S   1 to 3600 [25]
#   PRESTOP_TOKEN_FILE  a file whose first line is the token for sidecars on other hosts; none needed on this one
#
# Needs curl or wget. Listeners that are encrypted are for `evenkeel hook prestop`.
set -u

say() { echo "prestop: $*" >&2; }

pod=${POD_NAME:-}
ordinal=${pod##*-}
seconds=${PRESTOP_TIMEOUT_S:-25}
case $seconds in '' | *[!0-9]*) seconds=25 ;; esac
while [ "${seconds#0}" != "$seconds" ]; do seconds=${seconds#0}; done # neither 0, for ever, nor 08, which is no octal number
[ -n "$seconds" ] || seconds=25
if [ "${#seconds}" -gt 4 ] || [ "$seconds" -gt 3600 ]; then seconds=3600; fi
longest=240 # seconds that a sidecar waits with its answer; then it is asked again
member=$(printf %s "${PRESTOP_MEMBER:-"{ordinal}"}" | sed "s/{pod}/$pod/g; s/{ordinal}/$ordinal/g")
if [ -z "${PRESTOP_CLUSTER:-}" ] || [ -z "${PRESTOP_SIDECARS:-}" ] || [ -z "$member" ]; then
    say "PRESTOP_CLUSTER, PRESTOP_SIDECARS, and POD_NAME or PRESTOP_MEMBER are needed; nobody was asked"
    exit 0
fi

# A page of another site could send neither of these.
header='Evenkeel-Client: prestop.sh'
if [ -n "${PRESTOP_TOKEN_FILE:-}" ]; then
    token=$(head -n 1 "$PRESTOP_TOKEN_FILE") || say "$PRESTOP_TOKEN_FILE can't be read"
    [ -z "$token" ] || header="Authorization: Bearer $token"
fi

# The answer comes when nobody is left there, or when the time that it was given is over.
end=$(($(date +%s) + seconds))
one() {
    while begin=$(date +%s) && left=$((end - begin)) && [ "$left" -gt 0 ]; do
        given=$left limit=$left
        if [ "$left" -gt "$longest" ]; then given=$longest limit=$((longest + 5)); fi
        url="http://${1#http://}/v1/hooks/prestop?cluster=$PRESTOP_CLUSTER&member=$member&timeout_s=$given"
        if command -v curl >/dev/null 2>&1; then
            # By its input: arguments can be seen by others.
            printf '%s\n' "$header" | curl -fsS --noproxy '*' --connect-timeout 3 -m "$limit" -H @- -o /dev/null "$url"
        else
            wget -q -T "$limit" -t 1 --header "$header" -O /dev/null "$url"
        fi || { say "$1: gave no answer, or refused"; return; }
        [ $(($(date +%s) - begin)) -ge "$given" ] || break
    done
    say "$1: asked"
}

# All at once, and never longer than the time.
oldifs=$IFS
IFS=,
for sidecar in $PRESTOP_SIDECARS; do
    one "${sidecar%/}" &
done
IFS=$oldifs
wait
exit 0
