#!/usr/bin/env bash
# Makes RabbitMQ images from Debian's packages, and a Toxiproxy image of `gauntlet proxy`, for machines that reach
# a Debian mirror but no registry.
#
#   images/build.sh [4.0|3.10|4.3|all|toxiproxy] [--force]
#
# The images carry the official names (rabbitmq:4.0-management, rabbitmq:4.0, ghcr.io/shopify/toxiproxy:2.12.0), so that whatever would
# pull the official image finds these instead. Where a registry can be reached, this is not needed.
#
# Packages come from the mirror this machine's apt uses for Debian, else from mmdebstrap's default.
# GAUNTLET_DEBIAN_MIRROR=URL overrides both.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

say() { printf 'images/build.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# version -> Debian suite. A tag says what RabbitMQ is in the image, and that is checked after the build.
suite_of() {
  case $1 in
    3.10) echo bookworm ;;
    4.0) echo trixie ;;
    4.3) echo sid ;;
    *) return 1 ;;
  esac
}

check_machine() {
  local missing=()
  if [ "$1" = toxiproxy ]; then
    command -v cargo >/dev/null || missing+=("cargo (rustup.rs)")
  else
    [ "$(id -u)" = 0 ] || missing+=("root (run it with sudo)")
    command -v mmdebstrap >/dev/null || missing+=("mmdebstrap (apt-get install mmdebstrap)")
  fi
  if ! command -v docker >/dev/null; then
    missing+=("docker (apt-get install docker.io)")
  elif ! docker version >/dev/null 2>&1; then
    missing+=("a running docker engine ('docker version' fails)")
  fi
  [ ${#missing[@]} = 0 ] || die "missing: $(IFS=';'; echo "${missing[*]}")"
}

# The repository apt itself uses for Debian, or nothing.
mirror() {
  if [ -n "${GAUNTLET_DEBIAN_MIRROR:-}" ]; then
    echo "$GAUNTLET_DEBIAN_MIRROR"
  elif command -v apt-get >/dev/null; then
    apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -E '/debian/?$' | head -n 1 || true
  fi
}

# What apt here was told about proxies and about mirrors that stand still, as options for mmdebstrap's own apt.
apt_options() {
  command -v apt-config >/dev/null || return 0
  apt-config dump | grep -E '^Acquire::(Check-Valid-Until|Check-Date|https?::Proxy) "' | sed 's/^/--aptopt=/' || true
}

build() {
  local version=$1 suite tag="rabbitmq:$1-management" archive=() options found package started=$SECONDS
  suite=$(suite_of "$version")
  if [ -z "$force" ] && docker image inspect "$tag" >/dev/null 2>&1; then
    say "$tag is there already (--force makes it again)"
    return
  fi
  found=$(mirror)
  [ -z "$found" ] || archive=("$found")
  mapfile -t options < <(apt_options)
  work=$(mktemp -d)
  trap "rm -rf '$work'" EXIT
  say "making $tag from Debian $suite ${found:+(the mirror of this machine)}"
  # The log is shown only when it failed: it is long, and says nothing otherwise.
  if ! mmdebstrap "${options[@]}" --variant=minbase --include=rabbitmq-server \
    --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook="copy-in '$here/docker-entrypoint.sh' /usr/local/bin" \
    --customize-hook="copy-in '$here/conf.d' '$here/enabled_plugins' /etc/rabbitmq" \
    --customize-hook='chroot "$1" chmod 755 /usr/local/bin/docker-entrypoint.sh' \
    --customize-hook='chroot "$1" chown -R root:root /etc/rabbitmq /usr/local/bin/docker-entrypoint.sh' \
    --customize-hook='rm -rf "$1"/usr/lib/python3*/test "$1"/usr/lib/*/gconv "$1"/var/cache/debconf/*-old' \
    --customize-hook='chroot "$1" dpkg-query -W -f "\${Version}" rabbitmq-server > '"'$work/version'" \
    "$suite" "$work/root.tar" "${archive[@]}" >"$work/log" 2>&1; then
    tail -n 25 "$work/log" >&2
    die "mmdebstrap failed for $suite; set GAUNTLET_DEBIAN_MIRROR if its mirror cannot be reached"
  fi
  package=$(cat "$work/version")
  case $package in
    "$version".*) ;;
    *) die "Debian $suite has RabbitMQ $package now, not $version: change suite_of in this script" ;;
  esac
  docker import --message "RabbitMQ $package from Debian $suite" \
    --change 'ENV RABBITMQ_LOGS=- LANG=C.UTF-8 HOME=/var/lib/rabbitmq' \
    --change 'ENV RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+sbwt none +sbwtdcpu none +sbwtdio none"' \
    --change 'ENTRYPOINT ["docker-entrypoint.sh"]' \
    --change 'CMD ["rabbitmq-server"]' \
    --change 'EXPOSE 5672 15672' \
    "$work/root.tar" "$tag" >/dev/null
  rm -rf "$work"
  docker tag "$tag" "rabbitmq:$version"
  say "$tag: RabbitMQ $package, $(docker image inspect --format '{{.Size}}' "$tag" | awk '{printf "%d MB", $1/1e6}'), $((SECONDS - started)) s"
}

# The program, what it is linked with, and nothing else.
build_toxiproxy() {
  local tag=ghcr.io/shopify/toxiproxy:2.12.0 started=$SECONDS program library
  if [ -z "$force" ] && docker image inspect "$tag" >/dev/null 2>&1; then
    say "$tag is there already (--force makes it again)"
    return
  fi
  program=${GAUNTLET_BIN:-}
  if [ -z "$program" ]; then
    say "building gauntlet (GAUNTLET_BIN=PATH takes one that is built)"
    program=$(cd "$here/.." && cargo build --release --locked --bin gauntlet --message-format=json-render-diagnostics |
      sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
  fi
  [ -x "$program" ] || die "no program at '$program'"
  work=$(mktemp -d)
  trap "rm -rf '$work'" EXIT
  mkdir -p "$work/root/etc" "$work/root/tmp"
  install -m 755 "$program" "$work/root/gauntlet"
  if command -v strip >/dev/null; then strip "$work/root/gauntlet"; fi
  ln -s gauntlet "$work/root/toxiproxy"
  # As the loader names them; names of hosts are looked up by the C library itself.
  for library in $(ldd "$program" | grep -o '/[^ ]*'); do
    install -D -m 755 "$library" "$work/root$library"
  done
  echo 'hosts: files dns' >"$work/root/etc/nsswitch.conf"
  tar -C "$work/root" --owner=0 --group=0 -c . |
    docker import --message "gauntlet proxy, as Toxiproxy 2.12.0" \
      --change 'ENV LOG_LEVEL=info' \
      --change 'ENTRYPOINT ["/gauntlet", "proxy", "--host", "0.0.0.0"]' \
      --change 'EXPOSE 8474' - "$tag" >/dev/null
  rm -rf "$work"
  say "$tag: $(docker image inspect --format '{{.Size}}' "$tag" | awk '{printf "%d MB", $1/1e6}'), $((SECONDS - started)) s"
}

force=
work=
wanted=()
for word in "$@"; do
  case $word in
    --force) force=1 ;;
    all) wanted+=(4.0 3.10 4.3) ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    toxiproxy) wanted+=(toxiproxy) ;;
    *) suite_of "$word" >/dev/null || die "no such image: '$word' (4.0, 3.10, 4.3, all or toxiproxy)"; wanted+=("$word") ;;
  esac
done
[ ${#wanted[@]} != 0 ] || wanted=(4.0)
for image in "${wanted[@]}"; do
  check_machine "$image"
  if [ "$image" = toxiproxy ]; then build_toxiproxy; else build "$image"; fi
done
