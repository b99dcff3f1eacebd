package pack

import (
	"crypto/sha1"
	"fmt"
	"strconv"
	"strings"
)

// A Pack is a set of queries under common conditions.
type Pack struct {
	// Name is the pack's name; the queries of the schedule form the pack
	// [Main].
	Name string
	// File is where the pack was read.
	File string
	// Platform and Version are the conditions as written; empty for none.
	Platform, Version string
	// Shard is the percentage of hosts that shall run the pack, 0 for all.
	Shard uint64
	// Discovery are queries that must all give rows for the pack to run.
	Discovery []string
	// Skip says why the pack is not for this host; it is empty if it is.
	Skip string
	// Queries are in the order in which they run: by startup priority, then by
	// name.
	Queries []Query
}

// Main is the name of the pack that stands for a configuration's schedule.
const Main = "main"

// A Query is a scheduled query.
type Query struct {
	// Name is the query's name within its pack; see [FullName].
	Name string
	SQL  string
	// Interval is in seconds; 0 stands for the default.
	Interval uint64
	// Snapshot has all rows logged at each run, instead of what has changed.
	Snapshot bool
	// Removed has rows logged that are there no more.
	Removed bool
	// Denylist bars the query for a day if the process died running it.
	Denylist bool
	// Startup has the query run once when the schedule begins, those of lower
	// Priority first.
	Startup  bool
	Priority uint64
	Position Position
}

// MaxInterval is the longest interval of a query in seconds: a week.
const MaxInterval = 604800

// FullName returns the name of a query in logs: pack_<pack>_<query> with the
// delimiter _, and the plain name for a query of the schedule.
func FullName(delimiter, pack, query string) string {
	if pack == Main {
		return query
	}
	return "pack" + delimiter + pack + delimiter + query
}

// A Target is the host for which a configuration is read.
type Target struct {
	// Version is the version of osquery that queries may ask for. Empty runs
	// all.
	Version string
	// Shard is the host's value, from 0 to 100: [Shard].
	Shard uint64
}

// Shard returns the value by which a host takes part in shards: the first byte
// of the SHA-1 of its name, as a percentage. A pack with a shard at or above it
// runs.
func Shard(hostname string) uint64 {
	sum := sha1.Sum([]byte(hostname))
	return uint64(sum[0]) * 100 / 255
}

// refuse says why conditions exclude the host, or nothing.
func (t Target) refuse(platform, version string, shard uint64) string {
	switch {
	case shard > 0 && shard < t.Shard:
		return fmt.Sprintf("its shard of %d %% leaves this host out, whose value is %d", shard, t.Shard)
	case !onLinux(platform):
		return fmt.Sprintf("it is for the platform %q", platform)
	case !atLeast(t.Version, version):
		return fmt.Sprintf("it needs osquery %s", version)
	}
	return ""
}

// onLinux finds words as osquery does, anywhere in the text (checkPlatform in
// osquery/core/system.cpp).
func onLinux(platform string) bool {
	if platform == "" || platform == "null" {
		return true
	}
	for _, word := range []string{"any", "all", "linux", "ubuntu", "centos", "posix"} {
		if strings.Contains(platform, word) {
			return true
		}
	}
	return false
}

// atLeast reports whether a version is not lower than what is required. Parts
// that are not numbers are compared as texts, and a part that is required
// beyond those of the version does not count (versionAtLeast in
// osquery/utils/info/version.cpp).
func atLeast(version, required string) bool {
	if version == "" || required == "" || required == "null" || required == "0.0.0" {
		return true
	}
	want := strings.Split(required, ".")
	for i, part := range strings.Split(version, ".") {
		if i >= len(want) {
			return true
		}
		a, errA := strconv.Atoi(part)
		b, errB := strconv.Atoi(want[i])
		switch {
		case errA != nil || errB != nil:
			if part < want[i] {
				return false
			}
		case a != b:
			return a > b
		}
	}
	return true
}
