package pack

import (
	"fmt"
	"path/filepath"
	"strings"
)

// LoadPack reads a file that holds one pack, which is named after the file. It
// fails if the file cannot be read, and with a [*SyntaxError] if it is not
// JSON.
func LoadPack(path string, target Target) (*Config, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("pack: read: %w", err)
	}
	l := loader{
		target:  target,
		config:  &Config{Options: map[string]string{}, Files: []File{{Path: path, Text: text}}},
		source:  newSource(path, text),
		unknown: map[string]bool{},
	}
	root, err := l.source.parse()
	if err != nil {
		return nil, err
	}
	name := filepath.Base(path)
	l.pack(strings.TrimSuffix(name, filepath.Ext(name)), &root)
	return l.config, nil
}
