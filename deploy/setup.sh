# shellcheck shell=bash disable=SC2034 # BUILD_PACKAGES is for the scripts that source this
# Sourced by deploy/quickstart and tests/run: installs Debian packages that are missing.

# need_packages PACKAGE...: nothing happens, and no root is needed, when all are there.
need_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' ||
            missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    echo "== installing ${missing[*]}"
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || {
            echo "these Debian packages are missing and there is no sudo: ${missing[*]}" >&2
            return 1
        }
        root=(sudo)
    fi
    # An apt that another process holds for a moment is waited for, not failed on.
    local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    "${apt[@]}" update >/dev/null || echo "apt-get update failed; trying with the lists there are" >&2
    "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
}

BUILD_PACKAGES=(gcc libc6-dev cmake ninja-build pkg-config
    libmicrohttpd-dev libcurl4-openssl-dev libcjson-dev libsqlite3-dev libssl-dev ca-certificates)
