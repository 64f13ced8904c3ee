# shellcheck shell=bash disable=SC2034 # BUILD_PACKAGES is for the scripts that source this
# Sourced by deploy/quickstart and tests/run: gets Debian packages that are missing.

# as_root COMMAND...: with sudo where that is needed; fails where there is none.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "this needs root and there is no sudo: $*" >&2
        return 1
    fi
}

# An apt that another process holds for a moment is waited for, not failed on.
apt_as_root() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" >/dev/null
}

apt_update() {
    apt_as_root update || echo "apt-get update failed; trying with the lists there are" >&2
}

is_installed() {
    dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'
}

# need_packages PACKAGE...: nothing happens, and no root is needed, when all are there.
need_packages() {
    local missing=() package
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    echo "== installing ${missing[*]}"
    apt_update
    apt_as_root install -y --no-install-recommends "${missing[@]}"
}

# unpack_packages DIRECTORY PACKAGE...: the files of packages below DIRECTORY, unless they are there
# or the package is installed.  Nothing gets installed, so no root is needed, no daemon is started
# and no port is taken.  The libraries that they want must be installed.
unpack_packages() {
    local directory=$1 package missing=()
    shift
    for package in "$@"; do
        [ -e "$directory/.unpacked-$package" ] || is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    echo "== unpacking ${missing[*]} below $directory"
    mkdir -p "$directory/archives"
    rm -f "$directory"/archives/*
    if ! (cd "$directory/archives" && apt-get -q download "${missing[@]}") >/dev/null 2>&1; then
        apt_update # there are no lists yet, or they are old
        (cd "$directory/archives" && apt-get -q download "${missing[@]}") >/dev/null || return 1
    fi
    for package in "${missing[@]}"; do
        dpkg-deb -x "$directory/archives/${package}"_*.deb "$directory" || return 1
        touch "$directory/.unpacked-$package"
    done
}

BUILD_PACKAGES=(gcc libc6-dev cmake ninja-build pkg-config
    libmicrohttpd-dev libcurl4-openssl-dev libcjson-dev libsqlite3-dev libssl-dev ca-certificates)
