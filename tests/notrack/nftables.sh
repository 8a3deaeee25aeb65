#!/bin/bash
# nftables.sh: the functions of tests/notrack/story for packaging/notrack/nftables.conf. Addresses and accept rules are
# those that the file has in comments.
file=${packaging:?}/nftables.conf

firewall() {
    nft -f - <<'RULES'
table inet firewall {
    chain input {
        type filter hook input priority 0; policy drop;
        ct state invalid drop
        ct state established,related accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        tcp dport { 22, 5666 } ct state new accept
        meta l4proto tcp counter drop
    }
    chain output {
        type filter hook output priority 0; policy drop;
        ct state established,related,new accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        meta l4proto tcp counter drop
    }
}
RULES
    nft list table inet firewall >before
}
dropped() {
    nft list table inet firewall | awk '/ tcp counter packets [0-9]+ .*drop/ {
        for (i = 1; i < NF; i++) if ($i == "packets") sum += $(i + 1)
    } END { print sum + 0 }'
}
rules() { sed 's/# elements/elements/' "$file" | nft -f -; }
rules_and_accept() {
    rules
    sed -n 's/^#   \(ip.*saddr.* accept\)$/\1/p' "$file" >accept
    [ "$(wc -l <accept)" = 2 ]
    sed 's/^/insert rule inet firewall input /' accept | nft -f -
    sed 's/^/insert rule inet firewall output /; s/saddr/daddr/' accept | nft -f -
}
gone() {
    nft delete table inet check_conntrack
    nft flush table inet firewall
    nft delete table inet firewall
    nft -f before
}
