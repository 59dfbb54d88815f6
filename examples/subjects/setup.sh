#!/usr/bin/env bash
# Makes the consumers of this directory runnable: target/subjects/bin/NAME for each, from the root of the project.
#   setup.sh            all of them
#   setup.sh NAME...    some
# What is unavailable here is skipped, with a line that says why. Exit code: 1 when something failed to build.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "$here/../.." && pwd)/target/subjects
bin=$out/bin
mkdir -p "$bin"

python=(pika-naive pika aio-pika kombu)
go=(go-gin-naive go-gin)
rust=(amqprs lapin)

failed=0
have() { command -v "$1" >/dev/null 2>&1; }
ready() { echo "ready    $1: target/subjects/bin/$1"; }
skipped() { echo "skipped  $1: $2"; }
broken() { echo "failed   $1: $2"; failed=1; }
wanted() { # wanted NAME SELECTION...: whether NAME is selected; nothing selects everything
  local name=$1 one; shift
  [ $# -gt 0 ] || return 0
  for one; do [ "$one" != "$name" ] || return 0; done
  return 1
}
each() { # each WHAT NAMES -- SELECTION...: WHAT for the selected NAMES
  local what=$1; shift
  local names=()
  while [ "$1" != -- ]; do names+=("$1"); shift; done; shift
  local name chosen=()
  for name in "${names[@]}"; do ! wanted "$name" "$@" || chosen+=("$name"); done
  [ ${#chosen[@]} -eq 0 ] || "$what" "${chosen[@]}"
}

build_python() {
  local name venv=$out/venv
  if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    for name; do skipped "$name" "no python3, or older than 3.11"; done; return
  fi
  if ! [ -x "$venv/bin/pip" ] && ! python3 -m venv "$venv" >"$out/venv.log" 2>&1; then
    for name; do skipped "$name" "python3 has no venv (apt-get install python3-venv); see target/subjects/venv.log"; done; return
  fi
  if ! "$venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt" >"$out/pip.log" 2>&1; then
    for name; do broken "$name" "pip install -r requirements.txt; see target/subjects/pip.log"; done; return
  fi
  for name; do
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$venv/bin/python" "$here/$name/consumer.py" >"$bin/$name"
    chmod +x "$bin/$name"
    ready "$name"
  done
}

build_go() {
  local name package
  for package in gin-gonic/gin rabbitmq/amqp091-go; do
    if ! have go || ! [ -d "/usr/share/gocode/src/github.com/$package" ]; then
      local debian='golang-go golang-github-gin-gonic-gin-dev golang-github-rabbitmq-amqp091-go-dev'
      for name; do skipped "$name" "no go with github.com/$package from Debian's packages (apt-get install $debian)"; done
      return
    fi
  done
  for name; do
    if (cd "$here/$name" && GO111MODULE=off GOPATH=/usr/share/gocode go build -o "$bin/$name" .) 2>"$out/$name.log"; then
      ready "$name"
    else
      broken "$name" "go build; see target/subjects/$name.log"
    fi
  done
}

build_rust() {
  local name
  if ! have cargo; then
    for name; do skipped "$name" "no cargo (rustup.rs)"; done; return
  fi
  for name; do
    if (cd "$here/$name" && CARGO_TARGET_DIR=$out/cargo cargo build --quiet --locked) 2>"$out/$name.log"; then
      cp "$out/cargo/debug/subject-$name" "$bin/$name"
      ready "$name"
    else
      broken "$name" "cargo build; see target/subjects/$name.log"
    fi
  done
}

for name; do
  if ! wanted "$name" "${python[@]}" "${go[@]}" "${rust[@]}"; then
    echo "no consumer '$name' here: ${python[*]} ${go[*]} ${rust[*]}" >&2
    exit 64
  fi
done
each build_python "${python[@]}" -- "$@"
each build_go "${go[@]}" -- "$@"
each build_rust "${rust[@]}" -- "$@"
exit $failed
