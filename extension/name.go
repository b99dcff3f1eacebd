package extension

import (
	"fmt"
	"path"
	"strings"

	"sockql/tables"
)

// identifier reports whether a name can be registered. One that cannot would
// make osqueryd refuse all tables of the extension.
func identifier(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// choose returns the tables whose name matches one of the patterns, all if
// there is none. It fails if a pattern is malformed or matches no table.
func choose(list []tables.Table, patterns []string) ([]tables.Table, error) {
	if len(patterns) == 0 {
		return list, nil
	}
	wanted := make([]bool, len(list))
	for _, p := range patterns {
		found := false
		for i, t := range list {
			match, err := path.Match(p, t.Schema().Name)
			if err != nil {
				return nil, fmt.Errorf("table pattern %q: %w", p, err)
			}
			wanted[i] = wanted[i] || match
			found = found || match
		}
		if !found {
			return nil, fmt.Errorf("table pattern %q: no table has such a name", p)
		}
	}
	var chosen []tables.Table
	for i, t := range list {
		if wanted[i] {
			chosen = append(chosen, t)
		}
	}
	return chosen, nil
}

// freeName returns the name for a table that nobody has taken: its own, or its
// own after the prefix, as often as it takes. Names differ in more than case.
func freeName(name, prefix string, taken map[string]bool) string {
	for taken[strings.ToLower(name)] {
		name = prefix + name
	}
	return name
}
