#!/bin/sh
# Fetches the newest perf that Debian has, for this host, beside the installed one: to judge records with a younger decoder.
#
#   scripts/fetch_perf.sh [--cache DIR] [--force]
#
# Prints the path of a program that runs it, DIR/perf-newest/perf (DIR as in scripts/fetch_guest.sh). Takes the first of the
# suites sid and trixie whose perf runs. Nothing is installed: packages are unpacked and run with their own C library.
set -eu

fail() {
    echo "fetch_perf.sh: $*" >&2
    exit 3
}

tree=$(cd "$(dirname "$0")/.." && pwd)
cache=$("$tree/scripts/fetch_guest.sh" --print-dir)
force=no
while [ $# -gt 0 ]; do
    case "$1" in
        --cache)
            [ $# -ge 2 ] || { echo "fetch_perf.sh: --cache needs a folder" >&2; exit 2; }
            cache=$2
            shift ;;
        --force) force=yes ;;
        -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "fetch_perf.sh: unknown option '$1' (accepted: --cache DIR, --force)" >&2; exit 2 ;;
    esac
    shift
done
mkdir -p "$cache"
result=$(cd "$cache" && pwd)/perf-newest
exec 9>"$cache/.perf-lock"
flock 9
if [ "$force" = no ] && [ -x "$result/perf" ] && "$result/perf" --version >/dev/null 2>&1; then
    echo "$result/perf"
    exit 0
fi

architecture=$(dpkg --print-architecture)
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || gcc -print-multiarch)
# The mirror this machine is configured with.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
    sed -n 's/^\([^ ]*\) Debian Debian$/\1/p' | head -n 1)
[ -n "$mirror" ] || fail "the configured apt sources name no Debian archive; run 'apt-get update' first"
work="$cache/perf.tmp"

private_apt() {
    tool=$1
    shift
    "$tool" -q -c "$work/apt.conf" "$@"
}

unpack_from() {
    rm -rf "$work"
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs" "$work/root"
    : >"$work/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" >"$work/sources.list"
    cat >"$work/apt.conf" <<END
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "$work";
Dir::State::status "$work/status";
Dir::Cache "$work/cache";
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "/dev/null";
Debug::NoLocking "true";
END
    private_apt apt-get update >"$work/log" 2>&1 || return 1
    # Libraries by name only: the script interpreters are not needed.
    libraries=$(private_apt apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances linux-perf | sed -n 's/^\(z\{0,1\}lib[^ :<>]*\)$/\1/p' | sort -u)
    # shellcheck disable=SC2086  # a list of words
    (cd "$work/debs" && private_apt apt-get download linux-perf $libraries >>"$work/log" 2>&1) || return 1
    for package in "$work/debs"/*.deb; do
        dpkg-deb -x "$package" "$work/root" || return 1
    done
    cat >"$work/root/perf" <<END
#!/bin/sh
root=\$(dirname "\$(readlink -f "\$0")")
exec "\$root/usr/lib/$multiarch/$(basename "$(find "$work/root" -name 'ld-linux*.so.*' | head -n 1)")" \\
    --library-path "\$root/usr/lib/$multiarch" "\$root/usr/bin/perf" "\$@"
END
    chmod +x "$work/root/perf"
    rm -rf "$work/root/usr/share" "$work/root/usr/include"
    "$work/root/perf" --version >>"$work/log" 2>&1
}

for suite in sid trixie; do
    if unpack_from "$suite"; then
        echo "fetch_perf.sh: $("$work/root/perf" --version) from $suite" >&2
        rm -rf "$result"
        mv "$work/root" "$result"
        rm -rf "$work"
        echo "$result/perf"
        exit 0
    fi
    echo "fetch_perf.sh: no perf of $suite runs here: $(tail -n 1 "$work/log")" >&2
done
fail "no suite has a perf that runs here; see $work/log"
