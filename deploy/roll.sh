#!/usr/bin/env bash
# A rolling upgrade through the hook of one or more sidecars, member by member: for Kafka and ZooKeeper alike.
# Needs bash 4.3 or newer and curl. `roll.sh --help` says how it is used; docs/upgrade.md says what the gates mean.
set -euo pipefail

usage() {
    cat <<'END'
roll.sh --cluster NAME --plan ID --members ID,ID,… --command COMMAND [options]

Restarts every member of a cluster once, with COMMAND, while the clients of all sidecars stay. For each member it waits for
the gate `stop`, makes clients leave it, runs COMMAND, waits for the gate `next`; the controller or leader comes last.
At the end it waits for the gate `finalize`, runs the command of --finalize, and tells the sidecars that the plan is done.

  --cluster NAME      the cluster's name in the sidecars' configuration
  --plan ID           a name for this upgrade
  --members LIST      ids as GET /v1/clusters/NAME shows them, separated by commas: 1,2,3 or zk-1.example.net:2181,…
  --command COMMAND   run by bash with the id as $MEMBER. It stops, upgrades and starts the member, and returns when that
                      is done; what it leaves undone when it returns has stable seconds to begin

  --sidecars LIST     admin listeners, separated by commas [http://127.0.0.1:9901]
  --token-file FILE   its first line is the token that lets us in at sidecars on other hosts
  --generation N      of the plan [1]; raise it to change what was said before
  --from, --to VERSION    of the members. Without --to no version is checked
  --done LIST         members that had their turn before and are left out; only needed where versions don't tell (see below)
  --before COMMAND    run before a member is drained, with $MEMBER: the place to move a Kafka broker's leaders away
  --finalize COMMAND  run when all members are done: raises the cluster's version (kafka-features.sh upgrade …)
  --stable SECONDS    for how long all must be well after a member is back [120]
  --soak SECONDS      for how long all must have been back before the end [0]
  --pin lowest|off    what clients of Kafka are offered meanwhile [lowest]
  --bound SECONDS     the longest wait for any gate or drain [1800]
  --allow-outage      what a cluster of this shape can never be spared is accepted
  --dry-run           says what the gates say now; drains and restarts nothing

Started again it goes on: a member that says it has the version --to, and could not say so of --from, is not restarted.
Kafka brokers tell their release line (4.3) and no more; for a patch release say with --done who had a turn.

Ends with 0: done. 1: an order was refused. 2: wrong usage. 3: a gate or drain took longer than --bound. 4: a command failed. However it ends,
no member is left drained.
END
}

complain() { printf 'roll: %s\n' "$*" >&2; }
say() { printf '%(%H:%M:%S)T %s\n' -1 "$*"; }
# 2: wrong usage.
wrong() { complain "$*; --help says more"; exit 2; }

cluster='' plan='' member_list='' command='' sidecar_list='http://127.0.0.1:9901' generation=1 from='' to=''
token='' done_list='' before='' finalize='' stable=120 soak=0 pin=lowest bound=1800 allow_outage=false dry_run=false

while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) usage; exit 0 ;;
    --allow-outage) allow_outage=true; shift; continue ;;
    --dry-run) dry_run=true; shift; continue ;;
    --cluster | --plan | --members | --command | --sidecars | --token-file | --generation | --from | --to | --done | --before | --finalize | \
        --stable | --soak | --pin | --bound) ;;
    *) wrong "$1 is no option" ;;
    esac
    [ $# -ge 2 ] || wrong "$1 needs a value"
    case $1 in
    --cluster) cluster=$2 ;; --plan) plan=$2 ;; --members) member_list=$2 ;; --command) command=$2 ;;
    --sidecars) sidecar_list=$2 ;; --generation) generation=$2 ;; --from) from=$2 ;; --to) to=$2 ;;
    --done) done_list=$2 ;; --before) before=$2 ;; --finalize) finalize=$2 ;; --stable) stable=$2 ;;
    --soak) soak=$2 ;; --pin) pin=$2 ;; --bound) bound=$2 ;;
    --token-file) read -r token <"$2" || [ -n "$token" ] || wrong "--token-file: $2 holds no token" ;;
    esac
    shift 2
done

# What goes into JSON and addresses must need no escapes there.
plain() { [[ $2 =~ ^[A-Za-z0-9._:-]{1,128}$ ]] || wrong "$1: letters, digits and ._:- are taken, not '$2'"; }
number() { [[ $2 =~ ^[0-9]{1,6}$ ]] || wrong "$1: a number is taken, not '$2'"; }
plain --cluster "$cluster"
plain --plan "$plan"
[ -n "$command" ] || $dry_run || wrong "--command is missing"
[ -z "$from" ] || plain --from "$from"
[ -z "$to" ] || plain --to "$to"
[[ $pin = lowest || $pin = off ]] || wrong "--pin: lowest or off"
for name in generation stable soak bound; do
    number "--$name" "${!name}"
    printf -v "$name" %d "$((10#${!name}))" # 08 is eight
done
command -v curl >/dev/null || wrong "curl is missing"

IFS=, read -r -a members <<<"$member_list"
IFS=, read -r -a sidecars <<<"$sidecar_list"
[ ${#members[@]} -gt 0 ] || wrong "--members is missing"
[ ${#sidecars[@]} -gt 0 ] || wrong "--sidecars is empty"
for member in "${members[@]}"; do plain --members "$member"; done
left=()
for member in "${members[@]}"; do [[ ",$done_list," = *",$member,"* ]] || left+=("$member"); done
sidecars=("${sidecars[@]%/}")

again=60 # seconds after which a drain is said again while a command runs: it would end by itself
folder=$(mktemp -d)
helper=''  # the process that does it, until its file is gone: one that a signal meets at its very begin would run our own traps
end_helper() {
    rm -f -- "$folder/command"
    [ -z "$helper" ] || wait "$helper" || true
    helper=''
}
drained='' # the member whose drain this script has ordered and not ended
ended() {
    local code=$?
    trap - EXIT INT TERM
    end_helper
    # Nothing stays blocked: clients use the member again, if it is there.
    [ -z "$drained" ] || undrain "$drained" quietly || true
    rm -rf -- "$folder"
    exit "$code"
}
trap ended EXIT
trap 'exit 130' INT; trap 'exit 143' TERM

# METHOD URL [BODY]: $status and $answer; status 000 when nobody answers.
status='' answer=''
ask() {
    local args=(-sS --noproxy '*' --connect-timeout 5 --max-time 60 -o "$folder/answer" -w '%{http_code}' -X "$1")
    [ -z "${3-}" ] || args+=(-H 'content-type: application/json' --data "$3")
    # By curl's input: arguments can be seen by others.
    local token_header=''
    [ -z "$token" ] || { token_header="Authorization: Bearer $token"; args+=(-H @-); }
    : >"$folder/answer"
    if status=$(curl "${args[@]}" "$2" <<<"$token_header" 2>"$folder/error"); then
        answer=$(<"$folder/answer")
    else
        status=000 answer=$(<"$folder/error")
    fi
}

refused() {
    complain "$1 answers $status: $answer"
    exit 1
}

# It must not be in the way of the plan itself, nor that of it.
! $dry_run || plan="$plan.dry-$(date +%s)"
# The ticket that every order carries.
ticket="\"plan_id\":\"$plan\",\"generation\":$generation"

plan_body() {
    local list='' member
    for member in ${left[@]+"${left[@]}"}; do
        list+="${list:+,}{\"id\":\"$member\"${from:+,\"from\":\"$from\"}${to:+,\"to\":\"$to\"}}"
    done
    printf '{%s,"members":[%s],"cluster_size":%d,"stable_s":%d,"soak_s":%d,"pin":"%s","allow_outage":%s,"dry_run":%s,"ttl_s":3600}' \
        "$ticket" "$list" ${#members[@]} "$stable" "$soak" "$pin" "$allow_outage" "$dry_run"
}

# The members of the plan stay the same for all of its generation.
all_left=("${left[@]+"${left[@]}"}")
renewed=0 over=false
# Puts the plan on every sidecar, or renews it there. One that doesn't answer is no error: the gates wait for it.
put_plan() {
    local sidecar left=("${all_left[@]+"${all_left[@]}"}")
    for sidecar in "${sidecars[@]}"; do
        ask PUT "$sidecar/v1/clusters/$cluster/plan" "$(plan_body)"
        case $status in
        200) ;;
        000 | 5??) [ "${1-}" = renew ] || refused "$sidecar" ;;
        # It was through with it before this script was stopped: the members are done, the other sidecars may not know.
        409) if [[ $answer = *'is finalized:'* ]]; then over=true; else refused "$sidecar"; fi ;;
        *) refused "$sidecar" ;;
        esac
    done
    renewed=$SECONDS
}

# GATE [MEMBER]: asks every sidecar. $codes: the codes against it, none if it is open everywhere; $why: in words.
codes='' why=''
gate() {
    local sidecar line
    codes='' why=''
    # A plan that nobody renews ends.
    ((SECONDS - renewed < 60)) || put_plan renew
    for sidecar in "${sidecars[@]}"; do
        ask POST "$sidecar/v1/hooks/flagger" "{\"metadata\":{\"cluster\":\"$cluster\",\"gate\":\"$1\"${2:+,\"member\":\"$2\"}}}"
        case $status in
        200) ;;
        409)
            while IFS= read -r line; do
                [ "$line" != wait ] || continue
                codes+=" ${line%%:*}"
                why+="${why:+; }$line"
            done <<<"$answer"
            ;;
        000 | 5??) codes+=' sidecar_unreachable' why+="${why:+; }$sidecar: $answer" ;;
        *) refused "$sidecar" ;;
        esac
    done
}

# Whether one of these codes is against the gate that was asked last.
says() {
    local code
    for code in "$@"; do [[ " $codes " != *" $code "* ]] || return 0; done
    return 1
}

# Whether nothing but the drain is missing.
only_drain() {
    local code
    for code in $codes; do
        case $code in not_drained | drain_expired | in_flight | sessions_left) ;; *) return 1 ;; esac
    done
}

told=''
# Says why something waits, when that has changed in more than a number.
tell() {
    local text="$*"
    [ "$told" = "${text//[0-9]/}" ] || say "$text"
    told=${text//[0-9]/}
}

# SINCE WHAT: 3 when the bound is over.
in_time() {
    ((SECONDS - $1 < bound)) && return
    complain "after $bound s $2: $why"
    complain "cure that and start this again with the same words: it goes on where it was"
    exit 3
}

# GATE [MEMBER]: waits until it is open on every sidecar, and not before $not_before.
not_before=0
wait_gate() {
    local since=$SECONDS
    while gate "$@"; [ -n "$codes" ] || ((SECONDS < not_before)); do
        tell "${2:+$2: }$1 waits: ${why:-well so far, for $((not_before - SECONDS)) s more}"
        in_time "$since" "$1${2:+ of $2} is closed"
        sleep 1
    done
}

# Whether a member can tell that it had its turn, and says so on every sidecar.
is_at_target() {
    [ -n "$from" ] && [ -n "$to" ] || return 1
    if [[ $1 == *:* ]]; then
        [ "$from" != "$to" ] || return 1 # ZooKeeper tells its whole version
    else
        [ "$(cut -d. -f1,2 <<<"$from")" != "$(cut -d. -f1,2 <<<"$to")" ] || return 1
    fi
    local since=$SECONDS
    while gate next "$1"; says facts_unknown sidecar_unreachable; do
        tell "$1: ${why}"
        in_time "$since" "nothing is known of $1"
        sleep 1
    done
    ! says not_at_target version_unknown member_unreachable wrong_member
}

leave_out() {
    local other rest=()
    for other in "${left[@]}"; do [ "$other" = "$1" ] || rest+=("$other"); done
    left=(${rest[@]+"${rest[@]}"})
}

# The next member: the first whose gate lets it be drained, on every sidecar. Who leads is put to the end.
pick() {
    local since=$SECONDS one reasons
    while :; do
        reasons=''
        for one in "${left[@]}"; do
            gate stop "$one"
            if only_drain; then
                member=$one
                return
            fi
            reasons+="${reasons:+ | }$one: $why"
            if says controller_comes_last leader_comes_last && [ "$one" != "${left[-1]}" ]; then
                leave_out "$one"
                left+=("$one")
                break
            fi
        done
        why=$reasons
        tell "stop waits: $why"
        in_time "$since" "no member may be stopped"
        sleep 1
    done
}

# Makes clients leave a member on every sidecar, and waits until none is left.
drain() {
    local since=$SECONDS sidecar left_there=1 body="{$ticket,\"deadline_s\":600}"
    drained=$1
    while ((left_there)); do
        left_there=0 why=''
        for sidecar in "${sidecars[@]}"; do
            ask PUT "$sidecar/v1/clusters/$cluster/members/$1/drain" "$body"
            case $status in
            200) continue ;;
            202 | 000 | 5??) why+="${why:+; }$sidecar: $answer" ;;
            409)
                # Either the plan is gone (a sidecar was restarted), or the drain has expired: both are begun anew.
                why+="${why:+; }$sidecar: $answer"
                put_plan renew
                ask DELETE "$sidecar/v1/clusters/$cluster/members/$1/drain" "{$ticket}"
                ;;
            *) refused "$sidecar" ;;
            esac
            left_there=1
        done
        in_time "$since" "clients are left on $1"
        ((!left_there)) || sleep 0.2
    done
}

# MEMBER [quietly]: clients may use it again.
undrain() {
    local sidecar
    for sidecar in "${sidecars[@]}"; do
        ask DELETE "$sidecar/v1/clusters/$cluster/members/$1/drain" "{$ticket}"
        case $status in 200 | 409) continue ;; esac # its plan has a time to live
        [ -n "${2-}" ] || complain "$sidecar answers $status to the end of a drain: $answer"
    done
    drained=''
}

# WHAT COMMAND: 4 when it fails.
carry_out() {
    local code=0
    bash -c "$2" || code=$?
    [ "$code" -eq 0 ] && return
    complain "$1 ended with $code"
    exit 4
}

# MEMBER: its drain lasts for as long as this runs, where it is drained still. Where it has gone and come back its drain has ended, and stays so.
keep_drained() {
    local next=$((SECONDS + again)) sidecar
    while sleep 1 && [ -e "$folder/command" ] && kill -0 $$ 2>/dev/null; do
        ((SECONDS >= next)) && next=$((SECONDS + again)) || continue
        for sidecar in "${sidecars[@]}"; do
            ask POST "$sidecar/v1/hooks/flagger" "{\"metadata\":{\"cluster\":\"$cluster\",\"gate\":\"stop\",\"member\":\"$1\"}}"
            case $status$answer in 409*not_drained:* | 409*drain_expired:*) continue ;; 200* | 409*) ;; *) continue ;; esac
            ask PUT "$sidecar/v1/clusters/$cluster/members/$1/drain" "{$ticket,\"deadline_s\":600}"
        done
    done
}

# MEMBER: waits until it may stop. $put_off: it has begun to lead meanwhile, and others come first.
put_off=false
wait_stop() {
    local since=$SECONDS; put_off=false
    while gate stop "$1"; [ -n "$codes" ]; do
        if says controller_comes_last leader_comes_last; then
            say "$1: put off: $why"
            undrain "$1"
            put_off=true && return
        fi
        tell "$1: stop waits: $why"
        in_time "$since" "stop of $1 is closed"
        # Clients use it again: it was not stopped in time. As soon as nothing else is in the way the drain is begun anew.
        if says drain_expired not_drained && only_drain; then undrain "$1"; drain "$1"; fi
        sleep 1
    done
}

turn() {
    export MEMBER=$1
    if [ -n "$before" ]; then carry_out "--before for $1" "$before"; fi
    say "$1: clients leave it"
    drain "$1"
    wait_stop "$1"
    ! $put_off || return 0
    say "$1: nobody is there; the command runs"
    : >"$folder/command"
    keep_drained "$1" & helper=$!
    carry_out "the command for $1" "$command"
    end_helper
    local since=$SECONDS
    # Until it is back as what it is to be, clients stay away.
    while gate next "$1"; says member_unreachable wrong_member not_at_target version_unknown member_not_listed facts_unknown; do
        tell "$1: next waits: $why"
        in_time "$since" "$1 is not back"
        sleep 1
    done
    undrain "$1"
    say "$1: is back"
    # What was well before the stop says nothing of the time after it.
    not_before=$((since + stable))
    wait_gate next "$1"
    not_before=0
    say "$1: all is well"
}

[ ${#left[@]} -gt 0 ] || wrong "all members are in --done"
put_plan
if $dry_run; then
    # At first nothing is known.
    for ((look = 0; look < 20; look++)); do
        gate stop "${left[0]}"
        says facts_unknown || break
        sleep 1
    done
    for member in "${left[@]}"; do
        gate stop "$member"
        if only_drain; then say "$member: may be drained"; else say "$member: waits: $why"; fi
    done
    for sidecar in "${sidecars[@]}"; do
        ask POST "$sidecar/v1/clusters/$cluster/plan/abort" "{$ticket}"
        [ "$status" = 200 ] || refused "$sidecar"
    done
    exit 0
fi

if ! $over; then
    # Who had a turn is looked at, and not restarted.
    for member in "${all_left[@]}"; do
        if is_at_target "$member"; then
            say "$member: has $to already"
            undrain "$member"
            wait_gate next "$member"
            leave_out "$member"
        fi
    done

    while [ ${#left[@]} -gt 0 ]; do
        pick
        turn "$member"
        ! $put_off || continue
        leave_out "$member"
    done
    unset MEMBER
    since=$SECONDS stands=false
    while gate finalize; [ -n "$codes" ]; do
        # A sidecar that was started meanwhile has not seen all turns: in a later generation one member stands for all.
        if says turns_left && ! $stands; then
            stands=true generation=$((generation + 1)) all_left=("${all_left[-1]}")
            ticket="\"plan_id\":\"$plan\",\"generation\":$generation"
            put_plan renew
        fi
        tell "finalize waits: $why"
        in_time "$since" "finalize is closed"
        sleep 1
    done
    if [ -n "$finalize" ]; then carry_out "--finalize" "$finalize"; fi
fi
since=$SECONDS
for sidecar in "${sidecars[@]}"; do
    while ask POST "$sidecar/v1/clusters/$cluster/plan/finalize" "{$ticket}"; [ "$status" != 200 ]; do
        why=$answer
        case $status in 000 | 409 | 5??) ;; *) refused "$sidecar" ;; esac
        tell "finalize waits: $sidecar: $answer"
        in_time "$since" "$sidecar does not finalize"
        sleep 1
    done
done
say "done: $plan, ${#members[@]} members"
