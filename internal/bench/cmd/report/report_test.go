package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/plot/vg"

	"sockql/internal/bench/load"
	"sockql/internal/bench/timing"
)

func answer(program string, seen, expected int, walls ...time.Duration) timing.Answer {
	a := timing.Answer{Program: program, Seen: seen, Expected: expected}
	for _, w := range walls {
		a.Runs = append(a.Runs, timing.Run{Wall: w, CPU: w / 2, Peak: 20 << 20})
	}
	return a
}

func sample() timing.Result {
	const ms = time.Millisecond
	ss := answer("ss -anp", 1000, 1000, 20*ms)
	ss.Remark, ss.Exit = "RTNETLINK answers: Invalid argument", 1
	ss.Runs[0].Peak = 1 << 20
	small := timing.Load{
		Config: load.Config{Sockets: 1000, Processes: 10, Namespaces: 1},
		Mix:    load.Mix{UDP4: 1000},
		Questions: []timing.Question{
			{Key: "all", Title: "every column", Answers: []timing.Answer{answer("sockql", 1000, 1000, 10*ms, 30*ms, 11*ms), ss}},
			{Key: "count", Title: "how many", Answers: []timing.Answer{answer("sockql", 5000, 0, 10*ms)}},
		},
	}
	large := timing.Load{
		Config: load.Config{Sockets: 10000, Processes: 100, Namespaces: 1},
		Mix:    load.Mix{UDP4: 10000},
		Questions: []timing.Question{
			{Key: "all", Title: "every column", Answers: []timing.Answer{answer("sockql", 10000, 10000, 40*ms), {Program: "ss -anp", Seen: -1, Limit: 20 * time.Second}}},
		},
		InProcess: "BenchmarkStatement/one_process-2 100 140000 ns/op 2097152 B/op 7 allocs/op\n",
	}
	spread := large
	spread.Namespaces, spread.InProcess = 50, ""
	spread.Questions = []timing.Question{{Key: "all", Title: "every column", Answers: []timing.Answer{answer("sockql", 10000, 10000, 50*ms), answer("ss -anp", 200, 10000, 20*ms)}}}
	return timing.Result{
		Date: "2026-01-02", Host: timing.Host{CPU: "CPU", Cores: 2, Memory: 24 << 30, Kernel: "6.18", Root: true},
		Versions: []timing.Version{{Program: "sockql", Text: "1"}, {Program: "lsof"}},
		Busy:     1.5,
		Floor:    2 << 20, Loads: []timing.Load{small, large, spread},
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what UPDATE_GOLDEN=1 go test would write:\n%s", path, got)
	}
}

func TestTables(t *testing.T) {
	var text, markdown bytes.Buffer
	writeText(&text, sample())
	golden(t, "sample.txt", text.String())
	writeMarkdown(&markdown, sample())
	golden(t, "sample.md", markdown.String())
}

func TestBetween(t *testing.T) {
	page := "a\n" + beginMark + "old\n" + endMark + "z\n"
	got, err := between([]byte(page), []byte("new\n"))
	if want := "a\n" + beginMark + "\nnew\n\n" + endMark + "z\n"; err != nil || string(got) != want {
		t.Errorf("%q %v, want %q", got, err, want)
	}
	again, err := between(got, []byte("new\n"))
	if err != nil || !bytes.Equal(again, got) {
		t.Errorf("the second time: %q %v", again, err)
	}
	for _, page := range []string{"", beginMark, endMark + beginMark} {
		if _, err := between([]byte(page), nil); err == nil {
			t.Errorf("%q has no marks, and no error", page)
		}
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	input, page := filepath.Join(dir, "results.json"), filepath.Join(dir, "page.md")
	if err := run(input, dir, "", false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without results: %v", err)
	}
	for name, text := range map[string]string{input: "{}", page: beginMark + endMark} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, page := range []string{"", page} {
		if err := run(input, filepath.Join(dir, "out"), page, false); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "out", "tables.md")); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "### Goals") {
		t.Errorf("%s %v", text, err)
	}
}

func TestCharts(t *testing.T) {
	dir := t.TempDir()
	if err := writeCharts(dir, sample(), false); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 || names[0].Name() != "every-column.svg" {
		t.Fatalf("%v %v: want the one question that two programs answered", names, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, names[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for d := xml.NewDecoder(bytes.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := token.(xml.CharData); ok {
			if word := strings.TrimSpace(string(data)); word != "" {
				words = append(words, word)
			}
		}
	}
	for _, want := range []string{charts[0].title, "1,000", "10,000", "20 ms", "sockql  40.0 ms", "ss -anp  20.0 ms at 1,000"} {
		if !slices.Contains(words, want) {
			t.Errorf("the chart lacks %q: %q", want, words)
		}
	}
}

func TestLinesOf(t *testing.T) {
	lines := linesOf(sample(), "all")
	if len(lines) != 2 || len(lines[0].points) != 2 || lines[0].points[0].Y != 0.011 || lines[0].points[1].X != 10000 {
		t.Errorf("%+v", lines)
	}
	if len(lines[1].points) != 1 {
		t.Errorf("a run without an end has a point: %+v", lines[1])
	}
}

func TestSpreadOut(t *testing.T) {
	for _, test := range []struct{ at, want []vg.Length }{
		{nil, nil},
		{[]vg.Length{5}, []vg.Length{5}},
		{[]vg.Length{0, 10}, []vg.Length{0, 10}},
		{[]vg.Length{4, 6}, []vg.Length{0, 10}},
		{[]vg.Length{10, 10, 10}, []vg.Length{0, 10, 20}},
		{[]vg.Length{0, 9, 11, 100}, []vg.Length{-10.0 / 3, 20.0 / 3, 50.0 / 3, 100}},
	} {
		got := slices.Clone(test.at)
		spreadOut(got, 10)
		if !slices.EqualFunc(got, test.want, func(a, b vg.Length) bool { return max(a-b, b-a) < 1e-9 }) {
			t.Errorf("%v: %v, want %v", test.at, got, test.want)
		}
	}
}

func TestTimeTicks(t *testing.T) {
	var labels []string
	for _, tick := range timeTicks(0.004, 3) {
		labels = append(labels, tick.Label)
	}
	want := []string{"5 ms", "10 ms", "20 ms", "50 ms", "100 ms", "200 ms", "500 ms", "1 s", "2 s"}
	if !slices.Equal(labels, want) {
		t.Errorf("%q, want %q", labels, want)
	}
}
