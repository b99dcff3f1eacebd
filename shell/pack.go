package shell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// pack is what of a query pack a shell can run
// (https://osquery.readthedocs.io/en/stable/deployment/configuration/#query-packs).
type pack struct {
	Queries map[string]struct {
		Query string `json:"query"`
	} `json:"queries"`
}

// findPack reads the pack of --pack: a file, or a pack that the configuration
// holds or whose file it names.
func (s *shell) findPack(name string) (*pack, error) {
	text, err := os.ReadFile(name)
	if err == nil {
		return parsePack(name, text)
	}
	if !errors.Is(err, os.ErrNotExist) || strings.ContainsRune(name, '/') {
		return nil, fmt.Errorf("--pack: %w", err)
	}
	path := s.flags.string("config_path")
	config, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--pack: %q is no file, and the configuration that might name such a pack cannot be read: %w", name, err)
	}
	var c struct {
		Packs map[string]json.RawMessage `json:"packs"`
	}
	if err := json.Unmarshal(joinLines(config), &c); err != nil {
		return nil, fmt.Errorf("--pack: parse %q: %w", path, err)
	}
	raw, ok := c.Packs[name]
	if !ok {
		return nil, fmt.Errorf("--pack: %q is neither a file nor a pack of %q, which has: %s", name, path, strings.Join(slices.Sorted(maps.Keys(c.Packs)), " "))
	}
	var file string
	if json.Unmarshal(raw, &file) != nil {
		return parsePack(path, raw)
	}
	if text, err = os.ReadFile(file); err != nil {
		return nil, fmt.Errorf("--pack: %w", err)
	}
	return parsePack(file, text)
}

func parsePack(path string, text []byte) (*pack, error) {
	var p pack
	if err := json.Unmarshal(joinLines(text), &p); err != nil {
		return nil, fmt.Errorf("--pack: parse %q: %w", path, err)
	}
	if len(p.Queries) == 0 {
		return nil, fmt.Errorf("--pack: %q has no queries", path)
	}
	return &p, nil
}

// joinLines removes a backslash before the end of a line, with which packs
// break long queries although JSON knows no such thing.
func joinLines(text []byte) []byte {
	return []byte(strings.NewReplacer("\\\r\n", "", "\\\n", "").Replace(string(text)))
}

// runPack runs all queries of a pack, in the order of their names, up to the
// first that fails.
func (s *shell) runPack(ctx context.Context) error {
	p, err := s.findPack(s.flags.string("pack"))
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(p.Queries)) {
		if err := s.script(ctx, p.Queries[name].Query); err != nil {
			fmt.Fprintf(s.stderr, "Could not execute query %s: %s\n", name, p.Queries[name].Query)
			return err
		}
	}
	return nil
}
