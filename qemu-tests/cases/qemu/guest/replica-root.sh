# SPDX-License-Identifier: GPL-2.0
# In one of two Debian guests whose roots are replicas of one fileset; IZO_ROLE says which. They take turns by files
# in /srv: what one writes the other waits for. The client's first boot ends with a power cut, while it writes: what
# the host heard it call safe, IZO_SAFE texts, must be there when it boots again (IZO_PART).
# shellcheck shell=sh

PART=${IZO_PART:?and which of its boots this is}
LIMIT=${IZO_LIMIT:?and how many seconds it may take to hear of it}
SOON=$((LIMIT / 4))

# What intersync said last, and how the guest ends when a check fails.
last_words() { journalctl -b -u intersync@-.service -o cat | tail -n 5; }
leave() {
    cat /run/manifest 2> /dev/null
    exit 1
}

# What two units of the other's wrote before its intersync ran (images/): the later one's folder, as it is in the end.
has_what_units_wrote() {
    folder=/srv/before-intersync-by-$OTHER
    for number in 1 2 3 4 5 6 7; do has_text "$folder/$number" "text $number of the $OTHER" || return; done
    has_text "$folder/inner/moved" "text 8 of the $OTHER" && [ "$(readlink "$folder/link")" = 7 ] &&
        [ "$(stat -c %a "$folder/7")" = 640 ] && [ "$(find "$folder" | wc -l)" -eq 11 ] &&
        [ -s "/srv/written-before-intersync-by-$OTHER" ]
}

has_conflict_copy() { [ "$(cat /srv/both.conflict-????????)" = 'of the client' ]; }
# 3: there are some, as izoctl(8) has it.
conflict_alone_is_listed() {
    listed=$(izoctl conflicts /)
    code=$?
    izo_fact 'izoctl conflicts /' "$listed"
    izo_fact 'its exit code' "$code"
    [ "$code" -eq 3 ] && [ "$(printf '%s\n' "$listed" | wc -l)" -eq 1 ] &&
        printf '%s\n' "$listed" | grep -q '/both\.conflict-.* lost both$'
}
daemon_is() { [ "$(systemctl is-active intersync@-.service)" = "$1" ]; }
daemon_is_frozen() {
    grep -q '^State:.T' "/proc/$(systemctl show --property=MainPID --value intersync@-.service)/status"
}
daemon_has_options() {
    tr '\0' ' ' < "/proc/$(systemctl show --property=MainPID --value intersync@-.service)/cmdline" |
        grep -qF -- " $OPTIONS /"
}
# The host pulls the cable, and puts it back, when both have asked for that.
ask_host() { izo_fact 'asks the host' "$1"; }
link_is_cut() { [ "$(cat "/sys/class/net/$IZO_CARD/carrier")" = 0 ]; }
link_is_back() { [ "$(cat "/sys/class/net/$IZO_CARD/carrier")" = 1 ]; }
server_is_out_of_reach() { ! timeout 3 bash -c ': < /dev/tcp/10.7.7.1/7733'; }

# Of its life since it was last started.
daemon_tries_in_vain() {
    journalctl -o cat "_SYSTEMD_INVOCATION_ID=$(systemctl show --property=InvocationID --value intersync@-.service)" |
        grep 'trying again, the next time in' > /run/in-vain
}

# use_root_within SECONDS WHAT FOLDER
use_root_within() {
    use_root "$3" && : > "/run/used-${3##*/}" &
    await "$1" "$2" test -e "/run/used-${3##*/}"
}

# Both write the same name, and one of their own.
write_while_cut() {
    printf 'of the %s\n' "$ROLE" > /srv/both && printf 'of the %s\n' "$ROLE" > "/srv/while-cut-by-$ROLE" &&
        daemon_is active && link_is_cut
}
meet_again() {
    ask_host 'to put the link back'
    await "$LIMIT" 'the link is back' link_is_back
    await "$LIMIT" "what the $OTHER wrote meanwhile is here" has_text "/srv/while-cut-by-$OTHER" "of the $OTHER"
    await "$LIMIT" 'the version of the server has the name' has_text /srv/both 'of the server'
    await "$LIMIT" 'the text of the client is kept in a copy' has_conflict_copy
    izo_check 'izoctl lists the conflict and no other' conflict_alone_is_listed
}

# Writes text after text, and says of each when it would survive a power cut.
write_until_the_power_goes() {
    mkdir /srv/texts
    number=0
    while number=$((number + 1)); do
        printf 'text %s\n' $number > /srv/texts/$number
        sync /srv/texts/$number || give_up 'a text is made safe' "sync -> $?"
        izo_fact safe $number
    done
}
texts_safe_before_the_cut() {
    number=0
    while has_text /srv/texts/$((number + 1)) "text $((number + 1))"; do number=$((number + 1)); done
    printf '%s\n' $number
}
has_all_that_was_safe() {
    read -r safe < /srv/safe && [ "$safe" -gt 0 ] && [ "$(texts_safe_before_the_cut)" -ge "$safe" ]
}

server() {
    await "$LIMIT" 'what the client wrote before intersync ran is here' has_what_units_wrote
    printf 'from the server\n' > /srv/from-server
    give_attributes /srv/from-server
    await "$LIMIT" 'a change of the client is here' has_text /srv/from-client 'from the client'
    mv /var/log/intersync/intermezzo-0.log /var/log/intersync/older.log
    systemctl reload intersync@-.service
    : > /srv/seen
    await "$LIMIT" 'a reload begins a new log' test -s /var/log/intersync/intermezzo-0.log
    izo_same 'intersync runs after a reload' active "$(systemctl is-active intersync@-.service)"
    await "$LIMIT" 'what the client did while its daemon was frozen is here' root_was_used /srv/frozen
    : > /srv/thawed
    ask_host 'to cut the link'
    await "$LIMIT" 'the link is cut' link_is_cut
    izo_check 'writes while the link is cut' write_while_cut
    meet_again
    await "$LIMIT" 'what the client did while its daemon was stopped is here' root_was_used /srv/stopped
    await $((2 * LIMIT)) 'what was safe on the client before its power cut is here' has_all_that_was_safe
    printf 'the end\n' > /srv/the-end
    await "$LIMIT" 'both are the same' same_as_the_other
    printf 'yes\n' > /var/lib/izo-manifest-seen-server
    wait_for "$LIMIT" 'the client has seen that' has_text /var/lib/izo-manifest-seen-client 'yes'
    root_is_idle
}

client_first() {
    await "$LIMIT" 'what the server wrote before intersync ran is here' has_what_units_wrote
    await "$LIMIT" 'a change of the server is here' has_text /srv/from-server 'from the server'
    await "$LIMIT" 'it has its attribute, its access list and its capability' has_attributes /srv/from-server
    printf 'from the client\n' > /srv/from-client
    wait_for "$LIMIT" 'the server has seen it' test -e /srv/seen
    systemctl kill --signal=STOP intersync@-.service
    wait_for "$LIMIT" 'the daemon is frozen' daemon_is_frozen
    use_root_within "$SOON" 'the root works with a frozen daemon' /srv/frozen
    izo_check 'intersync was frozen all the time' daemon_is_frozen
    systemctl kill --signal=CONT intersync@-.service
    wait_for "$LIMIT" 'the server has what was done meanwhile' test -e /srv/thawed
    systemctl stop intersync@-.service
    use_root_within "$SOON" 'the root works without its daemon' /srv/stopped
    izo_check 'intersync was stopped all the time' daemon_is inactive
    ask_host 'to cut the link'
    await "$LIMIT" 'the link is cut' link_is_cut
    izo_check 'the server is out of reach' server_is_out_of_reach
    sed -i '/^OPTIONS=/d' /run/izo-role
    systemctl start intersync@-.service
    izo_check 'its options are those of /etc/default/intersync' daemon_has_options
    izo_check 'writes while the link is cut' write_while_cut
    wait_for "$LIMIT" 'intersync finds no server' daemon_tries_in_vain
    izo_fact 'intersync says' "$(head -n 1 /run/in-vain)"
    izo_ok 'intersync finds no server and goes on trying'
    izo_check 'the link is still cut' link_is_cut
    meet_again
    izo_ok 'writes text after text, and makes each safe by sync(1)'
    write_until_the_power_goes
}

client_again() {
    kept=$(texts_safe_before_the_cut)
    izo_fact 'texts that are there' "$kept"
    izo_fact 'texts that were safe' "${IZO_SAFE:?}"
    izo_check 'nothing that was safe before the power cut is lost' [ "$kept" -ge "$IZO_SAFE" ]
    printf '%s\n' "$IZO_SAFE" > /srv/safe
    wait_for "$LIMIT" 'the end has come' has_text /srv/the-end 'the end'
    await "$LIMIT" 'both are the same' same_as_the_other
    wait_for "$LIMIT" 'the server says so too' has_text /var/lib/izo-manifest-seen-server 'yes'
    printf 'yes\n' > /var/lib/izo-manifest-seen-client
    root_is_idle
    wait_for "$LIMIT" 'the server has gone' server_is_out_of_reach
}

main() {
    wait_for "$LIMIT" 'the card has its address' test -s /run/izo-role
    # shellcheck source=/dev/null
    . /run/izo-role
    # As docs/quickstart.md has it: for when /run/izo-role says nothing of it any more.
    printf 'OPTIONS="%s"\n' "$OPTIONS" > /etc/default/intersync
    : > "/var/lib/izo-manifest-$ROLE"
    : > "/var/lib/izo-manifest-seen-$ROLE"
    check_before_remount
    check_after_remount
    izo_same 'intersync did not run yet when a unit had written a file' inactive "$(cat /run/izo-unit-when-written)"
    izo_same 'no_filter was set then' 1 "$(cat /run/izo-no-filter-when-written)"
    izo_same 'the system is running' running "$(systemctl is-system-running --wait)"
    izo_same 'intersync runs' active "$(systemctl is-active intersync@-.service)"
    izo_same 'no_filter is cleared' 0 "$(cat /proc/sys/intermezzo/intermezzo0/no_filter)"
    case $ROLE-$PART in
        server-*) server ;;
        client-first) client_first ;;
        client-again) client_again ;;
    esac
    izo_same 'intersync still runs' active "$(systemctl is-active intersync@-.service)"
    izo_same 'it was never started anew' 0 "$(systemctl show --property=NRestarts --value intersync@-.service)"
    journalctl -b -u intersync@-.service -o short-monotonic | tail -n 60
    izo_done
}

main
