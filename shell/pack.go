package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"sockql/engine/pack"
)

// findPack reads the pack of --pack: a file, or a pack of the configuration.
func (s *shell) findPack(name string) (*pack.Pack, error) {
	config, err := pack.LoadPack(name, pack.Target{})
	if errors.Is(err, os.ErrNotExist) && !strings.ContainsRune(name, '/') {
		path := s.flags.string("config_path")
		if config, err = pack.Load(path, pack.Target{}); errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("--pack: %q is no file, nor is --config_path %q that might name such a pack", name, path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("--pack: %w", err)
	}
	var names []string
	for i := range config.Packs {
		p := &config.Packs[i]
		if p.Name != name && !slices.ContainsFunc(config.Files, func(f pack.File) bool { return f.Path == name }) {
			names = append(names, p.Name)
			continue
		}
		for _, w := range config.Warnings {
			if w.Position.File == p.File {
				s.warn(errors.New(w.String()))
			}
		}
		switch {
		case p.Skip != "":
			return nil, fmt.Errorf("--pack: %q is not for this host: %s", name, p.Skip)
		case len(p.Queries) == 0:
			return nil, fmt.Errorf("--pack: %q has no queries", name)
		}
		return p, nil
	}
	return nil, fmt.Errorf("--pack: %q is neither a file nor a pack of %q, which has: %s", name, s.flags.string("config_path"), strings.Join(names, " "))
}

// runPack runs all queries of a pack up to the first that fails.
func (s *shell) runPack(ctx context.Context) error {
	p, err := s.findPack(s.flags.string("pack"))
	if err != nil {
		return err
	}
	for _, q := range p.Queries {
		if err := s.script(ctx, q.SQL); err != nil {
			fmt.Fprintf(s.stderr, "Could not execute query %s: %s\n", q.Name, q.SQL)
			return err
		}
	}
	return nil
}
