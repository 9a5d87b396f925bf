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
  --generation N      of the plan [1], 1 or more; raise it to change what was said before
  --from, --to VERSION    of the members. Without --to no version is checked
  --done LIST         members that had their turn before and are left out; only needed where versions don't tell (see below).
                      With all of them only the end is left
  --before COMMAND    run before a member is drained, with $MEMBER: the place to move a Kafka broker's leaders away
  --finalize COMMAND  run when all members are done: raises the cluster's version (kafka-features.sh upgrade …)
  --stable SECONDS    for how long all must be well after a member is back [120]
  --soak SECONDS      for how long all must have been back before the end [0]
  --pin lowest|off    what clients of Kafka are offered meanwhile [lowest]
  --bound SECONDS     the longest wait for any gate or drain [1800]
  --allow-outage      what a cluster of this shape can never be spared is accepted
  --dry-run           says what the gates say now; drains and restarts nothing

Started again it goes on: a member that says it has the version --to, and could not say so of --from, is not restarted.
Kafka brokers tell their release line (4.3) and no more; for a patch release say with --done who had a turn, in a higher
--generation. The words for that are said when it ends early.

Ends with 0: done. 1: an order was refused, or no sidecar knows a member. 2: wrong usage. 3: a gate or drain took longer than
--bound. 4: a command failed, or its member was not seen to go. However it ends, no member is left drained.
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
    --cluster) cluster=${2-} ;; --plan) plan=${2-} ;; --members) member_list=${2-} ;; --command) command=${2-} ;;
    --sidecars) sidecar_list=${2-} ;; --generation) generation=${2-} ;; --from) from=${2-} ;; --to) to=${2-} ;;
    --done) done_list=${2-} ;; --before) before=${2-} ;; --finalize) finalize=${2-} ;; --stable) stable=${2-} ;;
    --soak) soak=${2-} ;; --pin) pin=${2-} ;; --bound) bound=${2-} ;;
    --token-file) [ $# -lt 2 ] || read -r token <"$2" || [ -n "$token" ] || wrong "--token-file: $2 holds no token" ;;
    *) wrong "$1 is no option" ;;
    esac
    [ $# -ge 2 ] || wrong "$1 needs a value"
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
((generation)) || wrong "--generation: 1 or more"
command -v curl >/dev/null || wrong "curl is missing"

IFS=, read -r -a members <<<"$member_list"
IFS=, read -r -a sidecars <<<"$sidecar_list"
[ ${#members[@]} -gt 0 ] || wrong "--members is missing"
[ ${#sidecars[@]} -gt 0 ] || wrong "--sidecars is empty"
sidecars=("${sidecars[@]%/}")
left=()
for member in "${members[@]}"; do
    plain --members "$member"
    [[ ",$done_list," = *",$member,"* ]] || left+=("$member")
done

# Seconds: after which a drain is said again while a command runs, for it would end by itself; after which the plan is; until a sidecar that
# was just started knows its cluster; that the plan lives where nobody renews it.
again=60 renew=60 fresh=20 ttl=3600
# What is only tried must not be in the way of the plan itself, which is of a higher generation, nor that of it.
! $dry_run || plan="$plan.dry-$(date +%s)-$$" generation=0 ttl=120
folder=$(mktemp -d)
helper=''  # the process that does it, until its file is gone: one that a signal meets at its very begin would run our own traps
end_helper() {
    rm -f -- "$folder/command"
    [ -z "$helper" ] || wait "$helper" || true
    helper=''
}
drained='' # the member whose drain this script has ordered and not ended
tried=false goes_on='' finalized='' # whether a plan is there that is only tried; the words with which this goes on where it was
ended() {
    local code=$? sidecar
    trap - EXIT INT TERM
    end_helper
    # Nothing stays blocked: clients use the member again, if it is there.
    [ -z "$drained" ] || undrain "$drained" quietly || true
    if $tried; then for sidecar in "${sidecars[@]}"; do ask POST "$sidecar/$path/plan/abort" "{$ticket}"; done; fi
    [[ $code = [02] || -z $goes_on ]] || complain "cure that and start this again with $goes_on: it goes on where it was"
    rm -rf -- "$folder"
    exit "$code"
}
trap ended EXIT
trap 'exit 130' INT; trap 'exit 143' TERM

path="v1/clusters/$cluster"
# METHOD URL [BODY]: $status and $answer; status 000 when nobody answers.
status='' answer=''
ask() {
    local args=(-sS --noproxy '*' --connect-timeout 5 --max-time 60 -o "$folder/answer" -w '%{http_code}' -X "$1")
    [ -z "${3-}" ] || args+=(-H 'content-type: application/json' --data "$3")
    # By curl's input: arguments can be seen by others.
    local token_header=''
    [ -z "$token" ] || { token_header="Authorization: Bearer $token"; args+=(-H @-); }
    : >"$folder/answer"
    status=$(curl "${args[@]}" "$2" <<<"$token_header" 2>"$folder/error") || { status=000 answer=$(<"$folder/error"); return; }
    answer=$(<"$folder/answer")
}

refused() { complain "$1 answers $status: $answer"; exit 1; }

# The members of the plan stay the same for all of its generation. When nobody is left one stands for all, and the soak is waited for here.
all_left=(${left[@]+"${left[@]}"}) plan_soak=$soak
[ ${#left[@]} -gt 0 ] || { all_left=("${members[-1]}") plan_soak=0; }

plan_body() {
    local list
    printf -v list ",{\"id\":\"%s\"${from:+,\"from\":\"$from\"}${to:+,\"to\":\"$to\"}}" "${all_left[@]}"
    printf '{%s,"members":[%s],"cluster_size":%d,"stable_s":%d,"soak_s":%d,"pin":"%s","allow_outage":%s,"dry_run":%s,"ttl_s":%d}' \
        "$ticket" "${list:1}" ${#members[@]} "$stable" "$plan_soak" "$pin" "$allow_outage" "$dry_run" "$ttl"
}

renewed=0 over=false
saw=() # of each sidecar: the members whose turns it was there for, from their begin
# Puts the plan on every sidecar, or renews it there. One that doesn't answer is no error: the gates wait for it.
put_plan() {
    local at sidecar
    # What every order carries.
    ticket="\"plan_id\":\"$plan\",\"generation\":$generation"
    for at in "${!sidecars[@]}"; do
        sidecar=${sidecars[at]}
        ask PUT "$sidecar/$path/plan" "$(plan_body)"
        case $status in
        200) [[ $answer =~ '"result":'[[:space:]]*'"renewed"' ]] || saw[at]='' ;; # it knows of no turn, or there was none
        000 | 5??) [ "${1-}" = renew ] || refused "$sidecar" ;;
        # It was through with it before this script was stopped: the members are done, the other sidecars may not know.
        409) if [[ $answer = *'is finalized:'* ]]; then over=true; else refused "$sidecar"; fi ;;
        *) refused "$sidecar" ;;
        esac
    done
    renewed=$SECONDS
}

# SIDECAR GATE [MEMBER]
ask_gate() { ask POST "$1/v1/hooks/flagger" "{\"metadata\":{\"cluster\":\"$cluster\",\"gate\":\"$2\"${3:+,\"member\":\"$3\"}}}"; }

# GATE [MEMBER]: asks every sidecar. $codes: the codes against it, none if it is open everywhere; $why: in words; $answers: of each sidecar.
codes='' why='' answers=()
known=',' # members that a sidecar has told of
gate() {
    # A plan that nobody renews ends; one that was started anew has none.
    if ((SECONDS - renewed >= renew)) || says no_plan; then put_plan renew; fi
    local at sidecar line
    codes='' why='' answers=()
    for at in "${!sidecars[@]}"; do
        sidecar=${sidecars[at]}
        ask_gate "$sidecar" "$@"
        answers[at]=$answer
        case $status in
        200) known+="${2-}," ;;
        409)
            known+="${2-},"
            while IFS= read -r line; do codes+=" ${line%%:*}" why+="${why:+; }$line"; done <<<"${answer#wait$'\n'}"
            ;;
        000 | 5??) codes+=' sidecar_unreachable' why+="${why:+; }$sidecar: $answer" ;;
        404) [ -n "${2-}" ] || refused "$sidecar"; codes+=' member_unknown' why+="${why:+; }$sidecar: $answer" ;;
        *) refused "$sidecar" ;;
        esac
    done
    # One that was started while a member is away hears of it when that is back; at first it knows nobody. Else the name is wrong.
    ! says member_unknown || [[ $known = *",$2,"* ]] || { [ -z "${known//,/}" ] && ((SECONDS < fresh)); } ||
        { complain "no sidecar knows a member $2: $why"; exit 1; }
}

# Whether one of these codes is against the gate that was asked last.
says() {
    local any="$*"
    any=" (${any// /|}) "
    [[ "$codes " =~ $any ]]
}

only='^( (not_drained|drain_expired|in_flight|sessions_left))*$'
# Whether nothing but the drain is missing.
only_drain() { [[ $codes =~ $only ]]; }

# SINCE WHAT: 3 when the bound is over.
in_time() { ((SECONDS - $1 < bound)) || { complain "$bound s are over: $2: $why"; exit 3; }; }

told=''
# SINCE WHAT: it waits, and why (which is said when more than a number has changed); for a second, and within the bound.
wait_more() {
    local text="$2: $why"
    [ "$told" = "${text//[0-9]/}" ] || say "$text"
    told=${text//[0-9]/}
    in_time "$@"
    sleep 1
}

# GATE [MEMBER]: waits until it is open on every sidecar, and not before $not_before.
not_before=0
wait_gate() {
    local since=$SECONDS
    while gate "$@"; [ -n "$codes" ] || ((SECONDS < not_before)); do
        if says turns_left && stands_for_all "${members[-1]}"; then
            not_before=$((SECONDS + soak))
            continue
        fi
        why=${why:-well so far, for $((not_before - SECONDS)) s more}
        wait_more "$since" "${2:+$2: }$1 waits"
    done
}

# Whether a member can tell that it had its turn, and says so on every sidecar.
is_at_target() {
    local since=$SECONDS parts=1,2
    [[ $1 != *:* ]] || parts=1- # ZooKeeper tells its whole version
    [ -n "$from" ] && [ -n "$to" ] && [ "$(cut -d. -f$parts <<<"$from")" != "$(cut -d. -f$parts <<<"$to")" ] || return 1
    while gate next "$1"; says facts_unknown sidecar_unreachable member_unknown; do wait_more "$since" "nothing is known of $1"; done
    ! says not_at_target version_unknown member_unreachable wrong_member
}

leave_out() {
    local at
    for at in "${!left[@]}"; do [ "${left[at]}" != "$1" ] || unset "left[at]"; done
}

# [MEMBER]: it had its turn. From here it goes on in a higher generation, whatever is put by now: without some members it is another plan.
note_done() {
    [ -z "${1-}" ] || leave_out "$1"
    done_list+=${1:+${done_list:+,}$1}
    goes_on=${done_list:+"--generation $((generation + 1)) --done $done_list$finalized"} goes_on=${goes_on:-the same words}
}

names='^(turns_left: |(controller|leader)_comes_last: [^ ]+ (is|leads) the [a-z ]+, and others are left: )([A-Za-z0-9._:-]+(, [A-Za-z0-9._:-]+)*)( and [0-9]+ more)?$'
# MEMBER: whether every sidecar that was there for its turn says that it had none. What a fleet says only one of its sidecars may say: that
# has other words, and doesn't count.
did_not_go() {
    local at line says_so there=1
    for at in "${!sidecars[@]}"; do
        [[ ${saw[at]-} = *",$1,"* ]] || continue
        there=0 says_so=false
        while IFS= read -r line; do
            if [[ $line =~ $names && ", ${BASH_REMATCH[4]}," = *", $1,"* ]]; then says_so=true; fi
        done <<<"${answers[at]}"
        $says_so || return 1
    done
    return $there
}

# MEMBER: a sidecar that was started meanwhile has not seen all turns, and would wait for them for ever: in a later generation one member
# stands for all. But not for one that did not go.
stands_for_all() {
    ((${#all_left[@]} > 1)) && ! says sidecar_unreachable || return 1
    local one idle=''
    for one in "${members[@]}"; do ! did_not_go "$one" || idle+="${idle:+, }$one"; done
    if [ -n "$idle" ]; then
        done_list=$(tr , '\n' <<<"$done_list" | grep -vxF "${idle//, /$'\n'}" | paste -sd,)
        note_done
        complain "no sidecar saw $idle go down and come back, though the command ended well: if it was restarted, it belongs into --done. $why"
        exit 4
    fi
    generation=$((generation + 1)) all_left=("$1") plan_soak=0
    note_done
    put_plan renew
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
            says controller_comes_last leader_comes_last || continue
            if [ ${#left[@]} -eq 1 ]; then ! stands_for_all "$one" || continue 2; fi
            leave_out "$one"
            left+=("$one")
            break
        done
        why=$reasons
        wait_more "$since" "stop waits"
    done
}

# Makes clients leave a member on every sidecar, and waits until none is left.
drain() {
    local since=$SECONDS sidecar left_there=1
    drained=$1
    while ((left_there)); do
        left_there=0 why=''
        for sidecar in "${sidecars[@]}"; do
            ask PUT "$sidecar/$path/members/$1/drain" "{$ticket,\"deadline_s\":600}"
            case $status in 200) continue ;; 202 | 404 | 409 | 000 | 5??) ;; *) refused "$sidecar" ;; esac
            left_there=1 why+="${why:+; }$sidecar: $answer"
            # Either the plan is gone (a sidecar was restarted), or the drain has expired: both are begun anew.
            if [ "$status" = 409 ]; then put_plan renew; ask DELETE "$sidecar/$path/members/$1/drain" "{$ticket}"; fi
        done
        in_time "$since" "clients are left on $1"
        ((!left_there)) || sleep 0.2
    done
}

# MEMBER [quietly]: clients may use it again.
undrain() {
    local sidecar
    for sidecar in "${sidecars[@]}"; do
        ask DELETE "$sidecar/$path/members/$1/drain" "{$ticket}"
        # Its plan has a time to live; whom it doesn't know it doesn't drain.
        [[ $status = @(200|404|409) || -n ${2-} ]] || complain "$sidecar answers $status to the end of a drain: $answer"
    done
    drained=''
}

# WHAT COMMAND: 4 when it fails.
carry_out() { bash -c "$2" || { complain "$1 ended with $?"; exit 4; }; }

# MEMBER: its drain lasts for as long as this runs, where it is drained still. Where it has gone and come back its drain has ended, and stays so.
keep_drained() {
    local next=$((SECONDS + again)) sidecar
    while sleep 1 && [ -e "$folder/command" ] && kill -0 $$ 2>/dev/null; do
        ((SECONDS >= next)) || continue; next=$((SECONDS + again))
        for sidecar in "${sidecars[@]}"; do
            ask_gate "$sidecar" stop "$1"
            case $status$answer in 409*not_drained:* | 409*drain_expired:*) continue ;; 200* | 409*) ;; *) continue ;; esac
            ask PUT "$sidecar/$path/members/$1/drain" "{$ticket,\"deadline_s\":600}"
        done
    done
}

# MEMBER: waits until it may stop. $put_off: it has begun to lead meanwhile, and others come first.
put_off=false
wait_stop() {
    local since=$SECONDS; put_off=false
    while gate stop "$1"; [ -n "$codes" ]; do
        if says controller_comes_last leader_comes_last; then
            if [ ${#left[@]} -eq 1 ] && stands_for_all "$1"; then continue; fi
            say "$1: put off: $why"
            undrain "$1"
            put_off=true && return
        fi
        # Clients use it again: it was not stopped in time. As soon as nothing else is in the way the drain is begun anew.
        if says drain_expired not_drained && only_drain; then undrain "$1"; drain "$1"; fi
        wait_more "$since" "$1: stop waits"
    done
}

turn() {
    local at
    export MEMBER=$1
    if [ -n "$before" ]; then carry_out "--before for $1" "$before"; fi
    say "$1: clients leave it"
    drain "$1"
    wait_stop "$1"
    ! $put_off || return 0
    say "$1: nobody is there; the command runs"
    for at in "${!sidecars[@]}"; do saw[at]+=",$1,"; done
    : >"$folder/command"
    keep_drained "$1" & helper=$!
    carry_out "the command for $1" "$command"
    end_helper
    local since=$SECONDS
    # Until it is back as what it is to be, clients stay away.
    while gate next "$1"; says member_unreachable wrong_member not_at_target version_unknown member_not_listed facts_unknown member_unknown; do
        wait_more "$since" "$1 is not back"
    done
    undrain "$1"
    say "$1: is back"
    # What was well before the stop says nothing of the time after it.
    not_before=$((since + stable))
    wait_gate next "$1"
    not_before=0
    say "$1: all is well"
}

tried=$dry_run
put_plan
$dry_run || note_done
$over || for member in ${left[@]+"${left[@]}"}; do
    # At first nothing is known.
    while gate stop "$member"; says facts_unknown member_unknown && ((SECONDS < fresh)); do sleep 1; done
    if ! $dry_run; then continue; elif only_drain; then say "$member: may be drained"; else say "$member: waits: $why"; fi
done
if $dry_run; then [ ${#left[@]} -gt 0 ] || { gate finalize; say "finalize: ${why:-may be done}"; }; exit 0; fi

if ! $over; then
    # Who had a turn is looked at, and not restarted.
    for member in ${left[@]+"${left[@]}"}; do
        if is_at_target "$member"; then
            say "$member: has $to already"
            undrain "$member"
            wait_gate next "$member"
            note_done "$member"
        fi
    done

    while [ ${#left[@]} -gt 0 ]; do
        pick
        turn "$member"
        $put_off || note_done "$member"
    done
    unset MEMBER
    not_before=$((SECONDS + soak - plan_soak))
    wait_gate finalize
    if [ -n "$finalize" ]; then
        carry_out "--finalize" "$finalize"
        finalized=' and without --finalize'
        note_done
    fi
fi
since=$SECONDS
for sidecar in "${sidecars[@]}"; do
    while ask POST "$sidecar/$path/plan/finalize" "{$ticket}"; [ "$status" != 200 ]; do
        why=$answer
        case $status in 000 | 409 | 5??) ;; *) refused "$sidecar" ;; esac
        wait_more "$since" "$sidecar does not finalize"
    done
done
say "done: $plan, ${#members[@]} members"
