package timing

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/perf/benchfmt"
)

// A Verdict tells whether a goal is reached.
type Verdict string

const (
	Met         Verdict = "met"
	Missed      Verdict = "missed"
	NotMeasured Verdict = "not measured"
)

// A Goal is what a question should cost, and what it does.
type Goal struct {
	Question string
	Want     string
	Got      string
	Verdict  Verdict
}

const (
	// goalSockets is the size of load that the goals are set for.
	goalSockets = 100_000
	mib         = 1 << 20
)

// Largest returns the largest load that is in one namespace, and the one of the
// same size that is spread over several. A load that there is not is zero.
func (r Result) Largest() (one, spread Load) {
	for _, l := range r.Loads {
		switch {
		case l.Namespaces <= 1 && l.Sockets > one.Sockets:
			one = l
		case l.Namespaces > 1 && l.Sockets > spread.Sockets:
			spread = l
		}
	}
	return one, spread
}

// Goals judges the largest load.
func (r Result) Goals() []Goal {
	one, spread := r.Largest()
	j := judge{one}
	goals := []Goal{
		j.faster("all", "ss -anp", "all", 10),
		j.faster("all", "osqueryi", "all", 8),
		j.faster("count", "ss -anp", "all", 15),
		j.faster("count", "osqueryi", "count", 10),
		j.faster("pid", "lsof -nP -a -i -p PID", "pid", 20),
		j.faster("pid", "osqueryi", "pid", 40),
		j.inProcess("pid", "one_process", 500*time.Microsecond),
		j.faster("listeners", "ss -tanp state listening", "listeners", 6),
		j.faster("ports", "osqueryi", "ports", 10),
		j.atMost("join", 3),
		j.atMost("join2", 3),
	}
	goals = append(goals, spreadGoals(one, spread)...)
	for _, l := range r.Loads {
		if l.Namespaces <= 1 && (l.Sockets == one.Sockets || l.Sockets == one.Sockets/10) {
			goals = append(goals, judge{l}.memory(48*mib))
		}
	}
	return append(goals, j.within("one", 20*time.Millisecond))
}

// AsSet reports whether the largest load is what the goals are set for.
func (r Result) AsSet() bool {
	one, _ := r.Largest()
	return one.Sockets == goalSockets
}

type judge struct{ l Load }

func verdict(met bool) Verdict {
	if met {
		return Met
	}
	return Missed
}

// faster compares sockql's answer to a question with a program's answer to the
// same or a larger one.
func (j judge) faster(key, program, to string, times float64) Goal {
	g := Goal{Question: j.l.Question(key).Title, Want: fmt.Sprintf("%g× faster than `%s`", times, program), Verdict: NotMeasured}
	ours, _ := j.l.Question(key).Answer("sockql")
	theirs, _ := j.l.Question(to).Answer(program)
	ratio, atLeast := theirs.Times(ours)
	if ratio == 0 {
		return g
	}
	g.Got = Factor(ratio, atLeast)
	g.Verdict = verdict(ratio >= times)
	if atLeast && ratio < times {
		g.Verdict = NotMeasured
	}
	return g
}

// atMost compares sockql's answer to a question with its listing of everything.
func (j judge) atMost(key string, times float64) Goal {
	g := Goal{Question: j.l.Question(key).Title, Want: fmt.Sprintf("under %g× of `SELECT *`", times), Verdict: NotMeasured}
	ours, _ := j.l.Question(key).Answer("sockql")
	all, _ := j.l.Question("all").Answer("sockql")
	ratio, atLeast := ours.Times(all)
	if ratio == 0 {
		return g
	}
	g.Got = Factor(ratio, atLeast)
	g.Verdict = verdict(ratio < times && !atLeast)
	return g
}

func (j judge) within(key string, limit time.Duration) Goal {
	g := Goal{Question: j.l.Question(key).Title, Want: "under " + Time(limit), Verdict: NotMeasured}
	if a, _ := j.l.Question(key).Answer("sockql"); len(a.Runs) > 0 {
		g.Got = Time(a.Wall().Median)
		g.Verdict = verdict(a.Wall().Median < limit)
	}
	return g
}

func (j judge) memory(limit int64) Goal {
	g := Goal{Question: "peak memory at " + Number(j.l.Sockets) + " sockets", Want: "at most " + Memory(limit), Verdict: NotMeasured}
	if a, _ := j.l.Question("all").Answer("sockql"); len(a.Runs) > 0 {
		g.Got = Memory(a.Peak().Max)
		g.Verdict = verdict(a.Peak().Max <= limit)
	}
	return g
}

// inProcess judges a Go benchmark that ran beside the load.
func (j judge) inProcess(key, name string, limit time.Duration) Goal {
	g := Goal{Question: j.l.Question(key).Title + ", in process", Want: "under " + Time(limit), Verdict: NotMeasured}
	for _, b := range j.l.Benchmarks() {
		if b.Name == name {
			g.Got, g.Verdict = Time(b.Time), verdict(b.Time < limit)
		}
	}
	return g
}

func spreadGoals(one, spread Load) []Goal {
	question := fmt.Sprintf("%s, over %d namespaces", strings.TrimSpace(one.Question("all").Title), spread.Namespaces)
	if spread.Namespaces == 0 {
		question = "every column, over many namespaces"
	}
	time := Goal{Question: question, Want: "under 1.5× of one namespace", Verdict: NotMeasured}
	seen := Goal{Question: question, Want: "all sockets seen", Verdict: NotMeasured}
	there, _ := spread.Question("all").Answer("sockql")
	here, _ := one.Question("all").Answer("sockql")
	if ratio, atLeast := there.Times(here); ratio > 0 && spread.Sockets == one.Sockets {
		time.Got = Factor(ratio, atLeast)
		time.Verdict = verdict(ratio < 1.5 && !atLeast)
	}
	if len(there.Runs) > 0 {
		seen.Got = Seen(there)
		seen.Verdict = verdict(there.Seen == spread.Mix.Total())
	}
	return []Goal{time, seen}
}

// A Benchmark is a result of a Go benchmark.
type Benchmark struct {
	Name        string // without the function's name and the number of processors
	Time        time.Duration
	Bytes       int64
	Allocations int64
}

// Benchmarks reads what ran in process. It leaves out what it does not
// understand.
func (l Load) Benchmarks() []Benchmark {
	var list []Benchmark
	for r := benchfmt.NewReader(strings.NewReader(l.InProcess), ""); r.Scan(); {
		result, ok := r.Result().(*benchfmt.Result)
		if !ok {
			continue
		}
		name := result.Name.String()
		if _, sub, ok := strings.Cut(name, "/"); ok {
			name = sub
		}
		if i := strings.LastIndexByte(name, '-'); i >= 0 {
			name = name[:i]
		}
		b := Benchmark{Name: name}
		seconds, _ := result.Value("sec/op")
		b.Time = time.Duration(seconds * float64(time.Second))
		bytes, _ := result.Value("B/op")
		allocations, _ := result.Value("allocs/op")
		b.Bytes, b.Allocations = int64(bytes), int64(allocations)
		list = append(list, b)
	}
	return list
}

// Others is how many sockets there were beside the load, as sockql counted
// them; false if it did not.
func (l Load) Others() (int, bool) {
	a, ok := l.Question("count").Answer("sockql")
	if !ok || a.Seen < 0 {
		return 0, false
	}
	return a.Seen - l.Mix.Total(), true
}

// Time writes three digits of a duration, and its unit.
func Time(d time.Duration) string {
	switch {
	case d >= time.Second:
		return digits(d.Seconds()) + " s"
	case d >= time.Millisecond:
		return digits(d.Seconds()*1e3) + " ms"
	default:
		return digits(d.Seconds()*1e6) + " µs"
	}
}

// Memory writes bytes as mebibytes.
func Memory(n int64) string { return digits(float64(n)/mib) + " MiB" }

// digits writes three significant digits, and all of those before the point.
func digits(f float64) string {
	decimals := 0
	for limit := 99.95; decimals < 2 && f < limit; limit /= 10 {
		decimals++
	}
	return strconv.FormatFloat(f, 'f', decimals, 64)
}

// Factor writes how many times as much something is.
func Factor(ratio float64, atLeast bool) string {
	text := digits(ratio) + "×"
	if atLeast {
		return "> " + text
	}
	return text
}

// Number writes a number with commas between the thousands.
func Number(n int) string {
	text := strconv.Itoa(n)
	var groups []string
	for len(text) > 3 {
		groups = append(groups, text[len(text)-3:])
		text = text[:len(text)-3]
	}
	groups = append(groups, text)
	slices.Reverse(groups)
	return strings.Join(groups, ",")
}

// Seen writes how many sockets an answer has, and how many there are to see
// where it has another number.
func Seen(a Answer) string {
	switch {
	case a.Seen < 0:
		return ""
	case a.Expected == 0 || a.Seen == a.Expected:
		return Number(a.Seen)
	default:
		return Number(a.Seen) + " of " + Number(a.Expected)
	}
}
