package timing

import (
	"slices"
	"time"
)

// An Answer is how one program did with one question.
type Answer struct {
	Program string   `json:"program"` // with the options that matter
	Command []string `json:"command"` // without the path
	Runs    []Run    `json:"runs"`
	// Seen is how many sockets it showed: those of the load where it names
	// their processes, else what it counted. It is -1 if it shows none.
	Seen int `json:"seen"`
	// Expected is how many sockets of the load the question is about, or 0 if
	// the answer cannot be compared with that.
	Expected int `json:"expected"`
	// Limit is how long it was given if that did not suffice; there are no
	// Runs then.
	Limit  time.Duration `json:"limit"`
	Exit   int           `json:"exit"`   // status
	Remark string        `json:"remark"` // what it wrote to standard error
}

// A Run is one execution of a program, from its start to its end.
type Run struct {
	Wall time.Duration `json:"wall"`
	CPU  time.Duration `json:"cpu"`  // user and system
	Peak int64         `json:"peak"` // resident memory, bytes
}

// A Spread is the middle and the ends of several measurements.
type Spread[T time.Duration | int64] struct{ Median, Min, Max T }

func spreadOf[T time.Duration | int64](values []T) Spread[T] {
	if len(values) == 0 {
		return Spread[T]{}
	}
	slices.Sort(values)
	middle := len(values) / 2
	median := values[middle]
	if len(values)%2 == 0 {
		median = (values[middle-1] + median) / 2
	}
	return Spread[T]{Median: median, Min: values[0], Max: values[len(values)-1]}
}

func spread[T time.Duration | int64](runs []Run, of func(Run) T) Spread[T] {
	values := make([]T, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	return spreadOf(values)
}

// Wall is the time that somebody waits.
func (a Answer) Wall() Spread[time.Duration] {
	return spread(a.Runs, func(r Run) time.Duration { return r.Wall })
}

// CPU is the time of all cores.
func (a Answer) CPU() Spread[time.Duration] {
	return spread(a.Runs, func(r Run) time.Duration { return r.CPU })
}

// Peak is resident memory in bytes.
func (a Answer) Peak() Spread[int64] {
	return spread(a.Runs, func(r Run) int64 { return r.Peak })
}

// Times returns how many times as long as the other the answer took. Of an
// answer that ran into its limit it is the least that it can be, and atLeast
// is true. It is 0 if one of them was not measured.
func (a Answer) Times(other Answer) (ratio float64, atLeast bool) {
	base := other.Wall().Median
	if base <= 0 {
		return 0, false
	}
	if a.Limit > 0 {
		return float64(a.Limit) / float64(base), true
	}
	return float64(a.Wall().Median) / float64(base), false
}
