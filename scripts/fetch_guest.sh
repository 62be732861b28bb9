#!/bin/sh
# Fetches an unmodified Debian arm64 kernel, busybox and perf, and packs them into an initramfs that `vmm run` boots.
#
#   scripts/fetch_guest.sh [--cache DIR] [--force] [--print-dir] [--perf-test] [--unpack DIR PACKAGE...]
#
# Results, in DIR (default: $XDG_CACHE_HOME/vmm, $HOME/.cache/vmm, or .cache of this tree when HOME is unset):
#   vmlinuz             the kernel, as Debian ships it
#   initramfs.cpio      busybox, perf with its libraries, kernel modules, /init of scripts/guest
#   kernel-version      e.g. 6.1.0-37-arm64
#   perf-test.cpio      with --perf-test: what `perf test` needs besides: its scripts, a shell, tools and a C compiler. Appended
#                       to initramfs.cpio it makes one initramfs
#
# --unpack does nothing but to unpack arm64 packages, and only these, into another folder.
#
# Packages come through apt from the sources this machine is configured with, but with a private apt state for arm64: the
# host's package lists and architecture list stay untouched, and no root is needed. Finished work is reused; every
# result appears under its name only when complete.
set -eu
PATH="$PATH:/usr/sbin:/sbin"  # depmod

tree=$(cd "$(dirname "$0")/.." && pwd)
guest="$tree/scripts/guest"

fail() {
    echo "fetch_guest.sh: $*" >&2
    exit 3
}
say() {
    echo "fetch_guest.sh: $*" >&2
}

cache=""
force=no
print_dir=no
perf_test=no
unpack=""
while [ $# -gt 0 ]; do
    case "$1" in
        --cache)
            [ $# -ge 2 ] || { echo "fetch_guest.sh: --cache needs a folder" >&2; exit 2; }
            cache=$2
            shift ;;
        --force) force=yes ;;
        --print-dir) print_dir=yes ;;
        --perf-test) perf_test=yes ;;
        --unpack)
            [ $# -ge 3 ] || { echo "fetch_guest.sh: --unpack needs a folder and packages" >&2; exit 2; }
            unpack=$2
            shift 2
            break ;;
        -h | --help) sed -n '2,17s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "fetch_guest.sh: unknown option '$1' (accepted: --cache DIR, --force, --print-dir, --perf-test, --unpack DIR PACKAGE...)" >&2; exit 2 ;;
    esac
    shift
done
if [ -z "$cache" ]; then
    if [ -n "${XDG_CACHE_HOME:-}" ]; then
        cache="$XDG_CACHE_HOME/vmm"
    elif [ -n "${HOME:-}" ]; then
        cache="$HOME/.cache/vmm"
    else
        cache="$tree/.cache/vmm"
    fi
fi
if [ "$print_dir" = yes ]; then
    echo "$cache"
    exit 0
fi
mkdir -p "$cache" || fail "cannot create '$cache'"
cache=$(cd "$cache" && pwd)

# One run at a time; a second one waits and then finds the work done.
exec 9>"$cache/.lock"
flock 9

# ── Private apt ────────────────────────────────────────────────────────────────────────────────────────────────────
apt_dir="$cache/apt"

prepare_apt() {
    mkdir -p "$apt_dir/state/lists/partial" "$apt_dir/cache/archives/partial"
    : >"$apt_dir/status"
    cat >"$apt_dir/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Get::List-Cleanup "false";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "$apt_dir/state";
Dir::State::status "$apt_dir/status";
Dir::Cache "$apt_dir/cache";
Debug::NoLocking "true";
END
}

# The private settings come last, on the command line's side, because APT_CONFIG is read before the host's files.
private_apt() {
    tool=$1
    shift
    "$tool" -c "$apt_dir/apt.conf" "$@"
}

update_lists() {
    # Lists younger than a week are good enough: the versions they name stay in the archive for longer.
    stamp="$apt_dir/updated"
    if [ "$force" = no ] && [ -n "$(find "$stamp" -mtime -7 2>/dev/null)" ]; then
        return
    fi
    say "reading package lists for arm64"
    # Third-party sources without arm64 only warn.
    private_apt apt-get -q update >"$apt_dir/update.log" 2>&1 || say "warning: some package lists could not be read"
    private_apt apt-cache show linux-image-arm64 >/dev/null 2>&1 ||
        fail "the configured apt sources offer no 'linux-image-arm64'; see $apt_dir/update.log"
    : >"$stamp"
}

# Direct and indirect dependencies that are libraries by name (perf's script interpreters are not needed).
library_closure() {
    private_apt apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances "$@" | sed -n 's/^\(z\{0,1\}lib[^ :<>]*\)$/\1/p' | sort -u
}

download() {
    (cd "$apt_dir/debs" && private_apt apt-get -q download "$@" >>"$apt_dir/download.log" 2>&1) ||
        fail "cannot download $*; see $apt_dir/download.log"
}

# ── Unpacked packages ──────────────────────────────────────────────────────────────────────────────────────────────
root="$cache/root"

unpack_packages() {
    kernel_package=$(private_apt apt-cache depends linux-image-arm64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    [ -n "$kernel_package" ] || fail "linux-image-arm64 names no kernel package"
    perf_package=$(private_apt apt-cache depends linux-perf | sed -n 's/^ *Depends: \(linux-perf-[0-9][^ ]*\)$/\1/p' | head -n 1)
    libraries=$(library_closure linux-perf)
    # shellcheck disable=SC2086  # lists of words
    set -- $kernel_package busybox-static linux-perf $perf_package $libraries
    wanted="$*"
    if [ "$force" = no ] && [ "$(cat "$cache/packages" 2>/dev/null || true)" = "$wanted" ]; then
        return
    fi
    say "downloading $# packages, $kernel_package among them"
    rm -rf "$apt_dir/debs" "$cache/root.tmp"
    mkdir -p "$apt_dir/debs" "$cache/root.tmp"
    : >"$apt_dir/download.log"
    download "$@"
    for package in "$apt_dir"/debs/*.deb; do
        dpkg-deb -x "$package" "$cache/root.tmp" || fail "cannot unpack '$package'"
    done
    ls "$cache/root.tmp"/boot/vmlinuz-* >/dev/null 2>&1 || fail "$kernel_package has no /boot/vmlinuz-*"
    rm -rf "$root" "$apt_dir/debs" "$cache/initramfs.id"
    mv "$cache/root.tmp" "$root"
    printf '%s\n' "$wanted" >"$cache/packages.tmp"
    mv "$cache/packages.tmp" "$cache/packages"
}

# ── The initramfs ──────────────────────────────────────────────────────────────────────────────────────────────────
# Modules for /init to load; dependencies are added from modules.dep.
modules="arm_spe_pmu virtio_mmio virtio_blk virtio_net virtio_console virtio_rng"
# Those that it loads where the machine has a device for them: by the device's virtio ID.
modules_by_id="5:virtio_balloon 9:9pnet_virtio 9:9p"

# Paths of the modules $2... and of what they need, in the folder $1, in the order to load them.
module_paths() {
    folder=$1
    shift
    for module in "$@"; do
        pattern=$(printf '%s' "$module" | sed 's/[-_]/[-_]/g')
        line=$(grep -E "(^|/)$pattern\.ko(\.[a-z]+)?:" "$folder/modules.dep" || true)
        [ -n "$line" ] || { say "note: this kernel has no module '$module'"; continue; }
        # modules.dep lists what must be loaded first last.
        printf '%s\n' "$line" | tr -d ':' | tr ' ' '\n' | tac
    done | awk '!seen[$0]++'
}

needed_libraries() {
    readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'
}

# Copies a shared library and what it needs into the stage, keeping its path.
copy_library() {
    name=$1
    [ ! -e "$stage/lib/$name" ] || return 0
    found=""
    for directory in "$root"/lib/aarch64-linux-gnu "$root"/usr/lib/aarch64-linux-gnu "$root"/lib; do
        [ -e "$directory/$name" ] && { found="$directory/$name"; break; }
    done
    [ -n "$found" ] || fail "no package provides '$name', which perf needs"
    cp -L "$found" "$stage/lib/$name"
    for dependency in $(needed_libraries "$stage/lib/$name"); do
        copy_library "$dependency"
    done
}

# Puts the modules $2... and what they need into the stage, and their names, in the order to load them, into the file $1.
stage_modules() {
    order=$1
    shift
    for path in $(module_paths "$module_dir" "$@"); do
        name=$(basename "$path")
        case "$name" in
            *.ko.xz) xz -dc "$module_dir/$path" >"$stage/modules/${name%.xz}" ;;
            *.ko.zst) zstd -q -dc "$module_dir/$path" >"$stage/modules/${name%.zst}" ;;
            *) cp "$module_dir/$path" "$stage/modules/$name" ;;
        esac
        printf '%s\n' "${name%.ko*}" >>"$order"
    done
}

build_initramfs() {
    version=$(basename "$(ls "$root"/boot/vmlinuz-* | tail -n 1)" | sed 's/^vmlinuz-//')
    # The result depends on the packages and on everything in scripts/guest and in this script.
    id=$(cat "$cache/packages" "$guest"/* "$0" | sha256sum | cut -d ' ' -f 1)
    if [ "$force" = no ] && [ -s "$cache/initramfs.cpio" ] && [ -s "$cache/vmlinuz" ] &&
        [ "$(cat "$cache/initramfs.id" 2>/dev/null || true)" = "$id" ]; then
        return
    fi
    say "building the initramfs for Linux $version"
    stage="$cache/stage.tmp"
    rm -rf "$stage"
    mkdir -p "$stage/bin" "$stage/lib" "$stage/usr/bin" "$stage/modules" "$stage/guest" \
        "$stage/proc" "$stage/sys" "$stage/dev" "$stage/tmp" "$stage/root" "$stage/run" "$stage/etc"

    cp "$root/bin/busybox" "$stage/bin/busybox" 2>/dev/null || cp "$root/usr/bin/busybox" "$stage/bin/busybox"
    perf=$(find "$root/usr/bin" "$root/usr/lib" -type f -name 'perf*' -exec sh -c 'readelf -h "$1" >/dev/null 2>&1' _ {} \; -print | head -n 1)
    [ -n "$perf" ] || fail "linux-perf has no perf program"
    cp "$perf" "$stage/usr/bin/perf"
    for library in $(needed_libraries "$stage/usr/bin/perf") ld-linux-aarch64.so.1; do
        copy_library "$library"
    done

    depmod -b "$root" "$version" 2>/dev/null || true
    module_dir="$root/lib/modules/$version"
    [ -s "$module_dir/modules.dep" ] || fail "depmod made no modules.dep for $version (package 'kmod' missing?)"
    # shellcheck disable=SC2086  # a list of words
    stage_modules "$stage/modules/order" $modules
    for pair in $modules_by_id; do
        stage_modules "$stage/modules/order.${pair%%:*}" "${pair#*:}"
    done
    [ -s "$stage/modules/arm_spe_pmu.ko" ] || fail "$version has no module 'arm_spe_pmu'"

    for file in "$guest"/*; do
        case "$file" in
            */init) install -m 755 "$file" "$stage/init" ;;
            *.c)
                program=$(basename "$file" .c)
                aarch64-linux-gnu-gcc -O2 -g -static -o "$stage/guest/$program" "$file" ||
                    fail "cannot build '$file' (package 'gcc-aarch64-linux-gnu' missing?)" ;;
            *) install -m 755 "$file" "$stage/guest/" ;;
        esac
    done

    # A fixed owner, time and order make the archive depend on its content only.
    find "$stage" -exec touch -h -d @0 {} +
    # Not compressed: unpacking would cost an emulated machine more than copying.
    (cd "$stage" && find . | LC_ALL=C sort | cpio --quiet --reproducible -R 0:0 -o -H newc) >"$cache/initramfs.tmp"
    rm -rf "$stage"
    cp "$root/boot/vmlinuz-$version" "$cache/vmlinuz.tmp"
    printf '%s\n' "$version" >"$cache/kernel-version.tmp"
    mv "$cache/vmlinuz.tmp" "$cache/vmlinuz"
    mv "$cache/kernel-version.tmp" "$cache/kernel-version"
    mv "$cache/initramfs.tmp" "$cache/initramfs.cpio"
    printf '%s\n' "$id" >"$cache/initramfs.id"
}

# ── What perf test needs ───────────────────────────────────────────────────────────────────────────────────────────
# Busybox does not do: its shell prefers its own mktemp, which takes other templates; its grep reads on after a match; and
# a test of events looks for the libraries of a `sleep` that has some.
perf_test_packages="dash coreutils grep libpcre2-8-0 tcc libc6-dev linux-libc-dev"

build_perf_test() {
    id=$(cat "$cache/packages" "$0" | sha256sum | cut -d ' ' -f 1)
    if [ "$force" = no ] && [ -s "$cache/perf-test.cpio" ] && [ "$(cat "$cache/perf-test.id" 2>/dev/null || true)" = "$id" ]; then
        return
    fi
    say "building the addition for perf test"
    prepare_apt
    update_lists
    extra="$cache/perf-test.tmp"
    stage="$cache/stage.tmp"
    rm -rf "$apt_dir/debs" "$extra" "$stage"
    mkdir -p "$apt_dir/debs" "$extra" "$stage/bin" "$stage/lib" "$stage/usr/bin" "$stage/usr/lib/aarch64-linux-gnu"
    : >"$apt_dir/download.log"
    # shellcheck disable=SC2086  # a list of words
    download $perf_test_packages
    for package in "$apt_dir"/debs/*.deb; do
        dpkg-deb -x "$package" "$extra" || fail "cannot unpack '$package'"
    done
    cp "$extra/bin/dash" "$stage/bin/sh"
    for program in sleep dd mktemp grep egrep; do
        cp "$extra/bin/$program" "$stage/bin/" 2>/dev/null || cp "$extra/usr/bin/$program" "$stage/bin/"
    done
    cp "$extra/usr/bin/tcc" "$stage/usr/bin/cc"
    cp -r "$extra/usr/include" "$stage/usr/"
    multiarch="$stage/usr/lib/aarch64-linux-gnu"
    for file in crt1.o crti.o crtn.o libc.so libc_nonshared.a tcc; do
        cp -r "$extra/usr/lib/aarch64-linux-gnu/$file" "$multiarch/"
    done
    ln -s /lib/libm.so.6 "$multiarch/libm.so"
    ln -s . "$stage/lib/aarch64-linux-gnu"  # libc.so names what it links by Debian's path
    cp -L "$(find "$extra" -name libpcre2-8.so.0)" "$stage/lib/"
    for library in $(needed_libraries "$stage/usr/bin/cc"); do
        copy_library "$library"
    done
    tests=$(find "$root/usr" -path '*/perf-core/tests' -type d | head -n 1)
    [ -n "$tests" ] || fail "linux-perf has no perf-core/tests"
    mkdir -p "$stage/${tests#"$root/"}"
    cp -r "$tests/." "$stage/${tests#"$root/"}/"

    find "$stage" -exec touch -h -d @0 {} +
    (cd "$stage" && find . | LC_ALL=C sort | cpio --quiet --reproducible -R 0:0 -o -H newc) >"$cache/perf-test.cpio.tmp"
    rm -rf "$stage" "$extra" "$apt_dir/debs"
    mv "$cache/perf-test.cpio.tmp" "$cache/perf-test.cpio"
    printf '%s\n' "$id" >"$cache/perf-test.id"
}

# ── Other packages ─────────────────────────────────────────────────────────────────────────────────────────────────
unpack_others() {
    prepare_apt
    update_lists
    rm -rf "$apt_dir/debs"
    mkdir -p "$apt_dir/debs" "$unpack" || fail "cannot create '$unpack'"
    : >"$apt_dir/download.log"
    # Lists may name a version that the archive has replaced since.
    (download "$@" 2>/dev/null) || {
        rm -f "$apt_dir/updated"
        update_lists
        download "$@"
    }
    for package in "$apt_dir"/debs/*.deb; do
        dpkg-deb -x "$package" "$unpack" || fail "cannot unpack '$package'"
    done
    rm -rf "$apt_dir/debs"
}

if [ -n "$unpack" ]; then
    unpack_others "$@"
    exit 0
fi

# Without --force, packages once fetched are kept; only what scripts/guest changes is rebuilt.
if [ "$force" = yes ] || [ ! -s "$cache/packages" ] || [ ! -d "$root/boot" ]; then
    for tool in apt-get apt-cache dpkg-deb; do
        command -v "$tool" >/dev/null || fail "needs '$tool': this must run on Debian or a derivative"
    done
    prepare_apt
    update_lists
    unpack_packages
fi
build_initramfs
[ "$perf_test" = no ] || build_perf_test
