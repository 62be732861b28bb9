#!/bin/sh
# The one list of Debian 12 packages this project needs. Installs only what is missing; never prompts.
#
#   scripts/install_deps.sh [--build] [--test] [--demo] [--list]
#
# Without a group, all groups are installed. --list prints the packages instead of installing them.
set -eu

build_packages="
    cmake ninja-build g++ pkg-config dpkg-dev file
    libfdt-dev libspdlog-dev libfmt-dev liburing-dev libseccomp-dev libslirp-dev libcli11-dev libexpected-dev nlohmann-json3-dev libtomlplusplus-dev
    zlib1g-dev libzstd-dev liblzma-dev libxbyak-dev catch2
    gcc-aarch64-linux-gnu linux-libc-dev-arm64-cross"

test_packages="
    clang libclang-rt-14-dev lld llvm ccache make python3 python3-jsonschema cpio xz-utils device-tree-compiler
    gcc-aarch64-linux-gnu binutils-aarch64-linux-gnu libc6-dev-arm64-cross
    qemu-user qemu-system-arm qemu-utils e2fsprogs libvixl-dev linux-perf valgrind slurm-wlm bash-completion man-db gdb-multiarch"

demo_packages="
    cpio xz-utils zstd kmod binutils
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross"

usage() {
    sed -n '2,6s/^# \{0,1\}//p' "$0"
}

packages=""
list=no
for argument in "$@"; do
    case "$argument" in
        --build) packages="$packages $build_packages" ;;
        --test) packages="$packages $test_packages" ;;
        --demo) packages="$packages $demo_packages" ;;
        --list) list=yes ;;
        -h | --help) usage; exit 0 ;;
        *)
            echo "install_deps.sh: unknown option '$argument' (accepted: --build --test --demo --list)" >&2
            exit 2 ;;
    esac
done
[ -n "$packages" ] || packages="$build_packages $test_packages $demo_packages"
# shellcheck disable=SC2086  # a list of words
packages=$(printf '%s\n' $packages | sort -u)

if [ "$list" = yes ]; then
    printf '%s\n' "$packages"
    exit 0
fi

missing=""
for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
    exit 0
fi

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "install_deps.sh: must install$missing: run as root or install sudo" >&2
        exit 3
    fi
    as_root="sudo -n"
    if ! sudo -n true 2>/dev/null; then
        if [ -t 0 ]; then
            as_root=sudo
        else
            echo "install_deps.sh: must install$missing: sudo needs a password and there is no terminal" >&2
            exit 3
        fi
    fi
fi

install() {
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
}

echo "install_deps.sh: installing$missing" >&2
# Package lists may be missing or stale: try with what is there, else refresh them once.
install >/dev/null 2>&1 || {
    $as_root apt-get update -q
    install
}
