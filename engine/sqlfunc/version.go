package sqlfunc

import (
	"context"
	"strings"

	"sockql/tables"
)

func versionFunctions() []Function {
	return []Function{{
		Name: "version_compare", Deterministic: true, Eval: versionCompare,
		Doc: "version_compare(a, b[, flavor]) returns -1, 0 or 1 as version a is less than, equal to or greater than b. The flavor ARCH, DPKG or RHEL, in any case, says whose rules the comparison leans to. The rules are osquery's and simpler than the package managers': segments compare by their first differing character, so that a longer number at the same place decides only by where it ends.",
	}}
}

// Collations returns every collating sequence, each name once.
func Collations() []Collation {
	const doc = "Orders texts as version_compare does"
	return []Collation{
		{Name: "version", Doc: doc + ".", Compare: plainVersion.compare},
		{Name: "version_arch", Doc: doc + " with the flavor ARCH.", Compare: archVersion.compare},
		{Name: "version_dpkg", Doc: doc + " with the flavor DPKG.", Compare: dpkgVersion.compare},
		{Name: "version_rhel", Doc: doc + " with the flavor RHEL.", Compare: rhelVersion.compare},
	}
}

func versionCompare(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
	if len(args) < 2 || args[0].Kind() != tables.KindText || args[1].Kind() != tables.KindText {
		return tables.Null(), osqueryError("Must provide two version strings to compare.")
	}
	rules := plainVersion
	if len(args) > 2 {
		if args[2].Kind() != tables.KindText {
			return tables.Null(), osqueryError("The optional third parameter is not a string.")
		}
		switch strings.ToUpper(text(args[2])) {
		case "ARCH":
			rules = archVersion
		case "DPKG":
			rules = dpkgVersion
		case "RHEL":
			rules = rhelVersion
		default:
			return tables.Null(), osqueryError("The optional third parameter does not match one of: (ARCH, DPKG, RHEL).")
		}
	}
	return tables.Int(rules.compare(text(args[0]), text(args[1]))), nil
}

// versionRules are the switches of osquery's version comparison. They reproduce
// its results, also where dpkg or rpm would say otherwise: a version with an
// epoch beats any without one whatever its number, 1.0~rc1 follows 1.0 under
// DPKG, and digits are compared as characters.
type versionRules struct {
	epoch     bool // a version with an epoch is greater than one without
	delimiter bool // delimiters at the same place have an order
	suffix    bool // ~, - and ^ after the common length mean less, equal, greater
	digitEnds bool // behind a digit the longer number is greater, whatever its digits
}

var (
	plainVersion = versionRules{}
	archVersion  = versionRules{epoch: true, suffix: true, digitEnds: true}
	dpkgVersion  = versionRules{epoch: true, delimiter: true}
	rhelVersion  = versionRules{epoch: true, delimiter: true, suffix: true}
)

// delimiterRank returns the place of a delimiter in the order of delimiters,
// and 0 for any other character.
func delimiterRank(c byte) int { return 1 + strings.IndexByte("~-^.:", c) }

// compare returns -1, 0 or 1. Characters compare as signed, which char is on
// the architecture where osquery's results were recorded.
func (r versionRules) compare(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "":
		return -1
	case b == "":
		return 1
	}
	if r.epoch {
		if d := compareEpoch(a, b); d != 0 {
			return signum(d)
		}
	}
	difference := 0 // the first one in the current segment
	common := min(len(a), len(b))
	for i := range common {
		rankA, rankB := delimiterRank(a[i]), delimiterRank(b[i])
		switch {
		case rankA == 0 && rankB == 0:
			if difference == 0 {
				difference = int(int8(a[i])) - int(int8(b[i]))
			}
			continue
		case rankA == 0: // this segment is longer, so its number is
			return 1
		case rankB == 0:
			return -1
		}
		if difference != 0 {
			return signum(difference)
		}
		if r.delimiter && rankA != rankB {
			return signum(rankA - rankB)
		}
	}
	switch {
	case len(a) > common:
		return r.compareLonger(a, b, difference)
	case len(b) > common:
		return -r.compareLonger(b, a, -difference)
	}
	return signum(difference)
}

// compareLonger compares a version with a shorter one. Up to the end of the
// shorter one their delimiters are the same; difference is that of the
// characters behind the last delimiter.
func (r versionRules) compareLonger(longer, shorter string, difference int) int {
	next := longer[len(shorter)]
	if !r.suffix {
		if difference != 0 && delimiterRank(next) > 0 {
			return signum(difference)
		}
		return 1
	}
	switch next {
	case '~':
		return -1
	case '-':
		return 0
	case '^':
		return 1
	}
	last := shorter[len(shorter)-1]
	if difference != 0 && !(r.digitEnds && last >= '0' && last <= '9') {
		return signum(difference)
	}
	return 1
}

// compareEpoch compares the places of the first colons, not what stands before
// them. A version without one is the lesser.
func compareEpoch(a, b string) int {
	return strings.IndexByte(a, ':') - strings.IndexByte(b, ':')
}

func signum(n int) int {
	return min(max(n, -1), 1)
}
