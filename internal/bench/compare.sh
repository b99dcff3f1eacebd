#!/usr/bin/env bash
# Compares the Go benchmarks of this tree with those of another revision, which
# it checks out into a directory that it removes. The two take turns.
#
#	compare.sh REVISION [RUNS [BENCHMARKS [PACKAGE...]]]
#
# RUNS is how often each benchmark runs (6), BENCHMARKS the regular expression
# of go test -bench (.). Without packages it takes all that have benchmarks.
set -euo pipefail

if [[ $# -lt 1 ]]; then
  echo "usage: ${0##*/} REVISION [RUNS [BENCHMARKS [PACKAGE...]]]" >&2
  exit 2
fi
revision=$1 runs=${2:-6} benchmarks=${3:-.}
shift $(($# < 3 ? $# : 3))

cd "$(dirname "$0")/../.."
new=$PWD
commit=$(git rev-parse --verify --quiet "$revision^{commit}") || {
  echo "${0##*/}: no such revision: $revision" >&2
  exit 2
}
scratch=$(mktemp -d)
old=$scratch/tree
trap 'git -C "$new" worktree remove --force "$old" 2>/dev/null; rm -rf "$scratch"' EXIT
git worktree add --quiet --detach "$old" "$commit"

if [[ $# -eq 0 ]]; then
  mapfile -t packages < <(git grep --untracked -l '^func Benchmark' -- '*_test.go' ':!internal/bench' | sed 's|/[^/]*$||; s|^|./|' | sort -u)
  set -- "${packages[@]}"
fi
for run in $(seq "$runs"); do
  echo "run $run of $runs" >&2
  for tree in old new; do
    for package in "$@"; do
      [[ -d ${!tree}/$package ]] || continue # the other revision has it alone
      (cd "${!tree}" && ${GO:-go} test -run '^$' -bench "$benchmarks" -benchmem "$package") >>"$scratch/$tree.txt" || {
        tail -n 20 "$scratch/$tree.txt" >&2
        exit 1
      }
    done
  done
done
${GO:-go} -C internal/bench tool benchstat "old=$scratch/old.txt" "new=$scratch/new.txt"
