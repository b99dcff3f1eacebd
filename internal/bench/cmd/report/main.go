// Report reads what measure wrote, prints it as tables, and writes it as
// Markdown and SVG: into a directory, or into a page of the documentation
// between two marks.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"sockql/internal/bench/timing"
)

func main() {
	input := flag.String("i", "results.json", "the file that measure wrote")
	dir := flag.String("dir", ".", "where the charts go, and tables.md")
	page := flag.String("page", "", "a page of Markdown that gets the tables between its marks, instead of tables.md")
	pixels := flag.Bool("png", false, "write the charts as PNG, too")
	flag.Parse()
	if err := run(*input, *dir, *page, *pixels); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(input, dir, page string, pixels bool) error {
	text, err := os.ReadFile(input)
	if err != nil {
		return err
	}
	var r timing.Result
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("%s: %w", input, err)
	}
	out := bufio.NewWriter(os.Stdout)
	writeText(out, r)
	if err := out.Flush(); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := writeCharts(dir, r, pixels); err != nil {
		return err
	}
	var markdown bytes.Buffer
	writeMarkdown(&markdown, r)
	if page == "" {
		return os.WriteFile(filepath.Join(dir, "tables.md"), markdown.Bytes(), 0o644)
	}
	return fillPage(page, markdown.Bytes())
}

// The marks in a page, on lines of their own.
const (
	beginMark = "<!-- make bench-docs writes from here -->\n"
	endMark   = "<!-- to here -->\n"
)

func fillPage(page string, markdown []byte) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	filled, err := between(text, markdown)
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	return os.WriteFile(page, filled, 0o644)
}

// between replaces what is between the marks.
func between(text, markdown []byte) ([]byte, error) {
	before, rest, ok := bytes.Cut(text, []byte(beginMark))
	if !ok {
		return nil, errors.New("no mark where the tables begin")
	}
	_, after, ok := bytes.Cut(rest, []byte(endMark))
	if !ok {
		return nil, errors.New("no mark where the tables end")
	}
	return bytes.Join([][]byte{before, []byte(beginMark + "\n"), markdown, []byte("\n" + endMark), after}, nil), nil
}
