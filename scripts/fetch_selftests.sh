#!/bin/sh
# Builds the kernel's own selftests for the guest, from Debian's linux-source of the guest kernel's series.
#
#   scripts/fetch_selftests.sh [--cache DIR] [--force]
#
# Prints the folder that has them, DIR/selftests (DIR as in scripts/fetch_guest.sh): one folder per group, and "tests", which
# has a line GROUP/PROGRAM for each test. "unifdef.c" is a program for a compiler in the guest. All are linked statically, nothing is installed. Rebuilt when the guest's kernel or
# this script changes.
set -eu

fail() {
    echo "fetch_selftests.sh: $*" >&2
    exit 3
}

tree=$(cd "$(dirname "$0")/.." && pwd)
cache=$("$tree/scripts/fetch_guest.sh" --print-dir)
force=no
while [ $# -gt 0 ]; do
    case "$1" in
        --cache)
            [ $# -ge 2 ] || { echo "fetch_selftests.sh: --cache needs a folder" >&2; exit 2; }
            cache=$2
            shift ;;
        --force) force=yes ;;
        -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "fetch_selftests.sh: unknown option '$1' (accepted: --cache DIR, --force)" >&2; exit 2 ;;
    esac
    shift
done
"$tree/scripts/fetch_guest.sh" --cache "$cache" >&2
cache=$(cd "$cache" && pwd)
exec 9>"$cache/.selftests-lock"
flock 9

result="$cache/selftests"
id=$(cat "$cache/packages" "$0" | sha256sum | cut -d ' ' -f 1)
if [ "$force" = no ] && [ "$(cat "$result/id" 2>/dev/null || true)" = "$id" ]; then
    echo "$result"
    exit 0
fi
command -v make >/dev/null || fail "needs 'make'"

work="$cache/selftests.tmp"
series=$(sed 's/^\([0-9]*\.[0-9]*\).*/\1/' "$cache/kernel-version")
rm -rf "$work"
mkdir -p "$work/out"
echo "fetch_selftests.sh: fetching the source of Linux $series" >&2
"$tree/scripts/fetch_guest.sh" --cache "$cache" --unpack "$work/package" "linux-source-$series" 9>&-
source="linux-source-$series"
(cd "$work" && tar xJf "package/usr/src/$source.tar.xz" "$source/tools/testing/selftests" "$source/tools/include" "$source/mm/gup_test.h" "$source/scripts/unifdef.c") ||
    fail "cannot unpack the kernel's source"
selftests="$work/$source/tools/testing/selftests"

# build GROUP [PROGRAM...]: programs by name where the group has others that need libraries or hardware; else those that the
# group calls tests.
build() {
    group=$1
    shift
    out="$work/out/$(printf '%s' "$group" | tr / -)"
    mkdir -p "$out"
    programs=""
    for program in "$@"; do
        programs="$programs $out/$program"
    done
    [ $# -gt 0 ] || programs=all
    run_make "$programs" >"$out.log" 2>&1 || fail "cannot build $group; see $out.log"
    # shellcheck disable=SC2046  # a list of words
    [ $# -gt 0 ] || set -- $(run_make emit_tests | sed -n 's/^.*:\([^:/.]*\)$/\1/p')
    for program in "$@"; do
        [ -x "$out/$program" ] || fail "$group has no program '$program'; see $out.log"
        echo "$(basename "$out")/$program" >>"$work/out/tests"
    done
}
run_make() {
    # The variables stand for the kernel's own build, which would install its headers first: those of the cross compiler do.
    # One job at a time: several would copy the programs of arm64/signal to the same place.
    # shellcheck disable=SC2086  # a list of words
    make -s -C "$selftests/$group" OUTPUT="$out" ARCH=arm64 MACHINE=arm64 MAKELEVEL=1 top_srcdir="$work/$source" \
        CC="aarch64-linux-gnu-gcc -static -O2 -w -I$selftests" KHDR_INCLUDES="-I$selftests" $1 9>&-
}

echo "fetch_selftests.sh: building" >&2
for group in abi bti fp mte pauth signal tags; do
    build "arm64/$group"
done
build breakpoints breakpoint_test_arm64
build futex/functional
build membarrier
# pidfd_test forks until process numbers come round again.
build pidfd pidfd_fdinfo_test pidfd_open_test pidfd_poll_test pidfd_wait pidfd_getfd_test pidfd_setns_test
build ptrace get_syscall_info peeksiginfo
build sigaltstack
build timers inconsistency-check mqueue-lat nanosleep nsleep-lat posix_timers rtcpie set-timer-lat threadtest
build vm compaction_test madv_populate map_fixed_noreplace map_populate mlock2-tests mremap_dontunmap mremap_test \
    soft-dirty split_huge_page_test thuge-gen virtual_address_range
cp "$work/$source/scripts/unifdef.c" "$work/out/"
find "$work/out" \( -name '*.o' -o -name '*.log' \) -delete
find "$work/out" -type f -perm -1 -exec aarch64-linux-gnu-strip {} +
printf '%s\n' "$id" >"$work/out/id"
rm -rf "$result"
mv "$work/out" "$result"
rm -rf "$work"
echo "$result"
