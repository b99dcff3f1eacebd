package timing

import (
	"testing"
	"time"

	"sockql/internal/bench/load"
)

func answer(program string, wall ...time.Duration) Answer {
	a := Answer{Program: program, Seen: -1}
	for i, w := range wall {
		a.Runs = append(a.Runs, Run{Wall: w, CPU: 2 * w, Peak: int64(i+1) * mib})
	}
	return a
}

func TestSpread(t *testing.T) {
	const s = time.Second
	for _, test := range []struct {
		walls []time.Duration
		want  Spread[time.Duration]
	}{
		{nil, Spread[time.Duration]{}},
		{[]time.Duration{s}, Spread[time.Duration]{s, s, s}},
		{[]time.Duration{9 * s, s, 2 * s}, Spread[time.Duration]{2 * s, s, 9 * s}},
		{[]time.Duration{4 * s, s, 2 * s, 9 * s}, Spread[time.Duration]{3 * s, s, 9 * s}},
	} {
		a := answer("p", test.walls...)
		if got := a.Wall(); got != test.want {
			t.Errorf("%v: %v, want %v", test.walls, got, test.want)
		}
		if got := a.CPU(); got.Median != 2*test.want.Median {
			t.Errorf("%v: CPU %v", test.walls, got)
		}
		if len(a.Runs) > 0 && a.Runs[0].Wall != test.walls[0] {
			t.Error("the runs are sorted in place")
		}
	}
	if got := answer("p", s, s, s).Peak(); got != (Spread[int64]{2 * mib, mib, 3 * mib}) {
		t.Errorf("peak %v", got)
	}
}

func TestTimes(t *testing.T) {
	ours, theirs := answer("sockql", 2*time.Second), answer("ss", 5*time.Second)
	if ratio, atLeast := theirs.Times(ours); ratio != 2.5 || atLeast {
		t.Error(ratio, atLeast)
	}
	endless := Answer{Limit: 20 * time.Second}
	if ratio, atLeast := endless.Times(ours); ratio != 10 || !atLeast {
		t.Error(ratio, atLeast)
	}
	for _, base := range []Answer{{}, endless} {
		if ratio, _ := theirs.Times(base); ratio != 0 {
			t.Errorf("compared with nothing: %v", ratio)
		}
	}
}

func TestWords(t *testing.T) {
	for want, got := range map[string]string{
		"0.25 µs":         Time(250 * time.Nanosecond),
		"34.6 µs":         Time(34567 * time.Nanosecond),
		"1.00 ms":         Time(time.Millisecond),
		"212 ms":          Time(212345 * time.Microsecond),
		"2.31 s":          Time(2310 * time.Millisecond),
		"20.0 s":          Time(20 * time.Second),
		"48.0 MiB":        Memory(48 * mib),
		"1024 MiB":        Memory(1024 * mib),
		"14.2×":           Factor(14.23, false),
		"> 9.99×":         Factor(9.994, true),
		"0":               Number(0),
		"999":             Number(999),
		"1,000":           Number(1000),
		"12,345,678":      Number(12345678),
		"":                Seen(Answer{Seen: -1, Expected: 5}),
		"5":               Seen(Answer{Seen: 5, Expected: 5}),
		"1,007":           Seen(Answer{Seen: 1007}),
		"2,000 of 10,000": Seen(Answer{Seen: 2000, Expected: 10000}),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// result is a benchmark in which sockql takes 100 ms for everything, and the
// others as much longer as they are told to.
func result(factor float64) Result {
	base := 100 * time.Millisecond
	other := time.Duration(float64(base) * factor)
	ask := func(key string, ours time.Duration, programs ...string) Question {
		q := Question{Key: key, Title: key, Answers: []Answer{answer("sockql", ours)}}
		for _, p := range programs {
			q.Answers = append(q.Answers, answer(p, other))
		}
		return q
	}
	one := Load{
		Config: load.Config{Sockets: 100_000, Processes: 1000, Namespaces: 1},
		Mix:    load.Mix{UDP4: 100_000},
		Questions: []Question{
			ask("all", base, "ss -anp", "osqueryi"), ask("count", base, "osqueryi"),
			ask("pid", base, "lsof -nP -a -i -p PID", "osqueryi"), ask("listeners", base, "ss -tanp state listening"),
			ask("ports", base, "osqueryi"), ask("join", base*299/100), ask("join2", base*301/100), ask("one", 19*time.Millisecond),
		},
		InProcess: "goos: linux\nBenchmarkStatement/one_process-2 \t 100\t 140000 ns/op\t 12.00 rows\t 2048 B/op\t 7 allocs/op\nBenchmarkStatement/count \t 100\t 3 ns/op\nPASS\n",
	}
	smaller := one
	smaller.Sockets, smaller.Questions = 10_000, []Question{ask("all", base)}
	smaller.Questions[0].Answers[0].Runs[0].Peak = 49 * mib
	spread := one
	spread.Namespaces, spread.Questions = 50, []Question{ask("all", base*149/100)}
	spread.Questions[0].Answers[0].Seen = 100_000
	return Result{Loads: []Load{smaller, one, spread}}
}

func TestGoals(t *testing.T) {
	for _, test := range []struct {
		factor float64
		want   []Verdict
	}{
		{14, []Verdict{Met, Met, Missed, Met, Missed, Missed, Met, Met, Met, Met, Missed, Met, Met, Missed, Met, Met}},
		{40, []Verdict{Met, Met, Met, Met, Met, Met, Met, Met, Met, Met, Missed, Met, Met, Missed, Met, Met}},
		{5, []Verdict{Missed, Missed, Missed, Missed, Missed, Missed, Met, Missed, Missed, Met, Missed, Met, Met, Missed, Met, Met}},
	} {
		r := result(test.factor)
		goals := r.Goals()
		if len(goals) != len(test.want) || !r.AsSet() {
			t.Fatalf("%d goals, want %d", len(goals), len(test.want))
		}
		for i, g := range goals {
			if g.Verdict != test.want[i] {
				t.Errorf("peers at %g×: %+v, want %s", test.factor, g, test.want[i])
			}
		}
	}
	r := result(14)
	if got := r.Goals()[6]; got.Got != "140 µs" {
		t.Errorf("in process: %+v", got)
	}
	r.Loads[2].Questions[0].Answers[0].Seen = 99_999
	if got := r.Goals()[12]; got.Verdict != Missed {
		t.Errorf("a socket unseen: %+v", got)
	}
	// A program that never came to an end is at least that slow, no more.
	slow := &r.Loads[1].Questions[0].Answers[1]
	slow.Runs, slow.Limit = nil, 20*time.Second
	if got := r.Goals()[0]; got.Verdict != Met || got.Got != "> 200×" {
		t.Errorf("ss at its limit: %+v", got)
	}
	slow.Limit = 900 * time.Millisecond
	if got := r.Goals()[0]; got.Verdict != NotMeasured {
		t.Errorf("ss at a low limit: %+v", got)
	}
	for _, g := range (Result{}).Goals() {
		if g.Verdict != NotMeasured {
			t.Errorf("of nothing: %+v", g)
		}
	}
}

func TestBenchmarks(t *testing.T) {
	_, spread := result(1).Largest()
	list := spread.Benchmarks()
	want := []Benchmark{{"one_process", 140 * time.Microsecond, 2048, 7}, {"count", 3, 0, 0}}
	if len(list) != len(want) || list[0] != want[0] || list[1] != want[1] {
		t.Errorf("%+v, want %+v", list, want)
	}
}

func TestOthers(t *testing.T) {
	l := result(1).Loads[1]
	if n, ok := l.Others(); ok {
		t.Errorf("%d others, though nothing was counted", n)
	}
	l.Questions[1].Answers[0].Seen = 100_020
	if n, ok := l.Others(); !ok || n != 20 {
		t.Errorf("%d others", n)
	}
}
