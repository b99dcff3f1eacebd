// Package timing is what a benchmark's run found: which program answered which
// question about which load, how long it took each time, how much memory it
// used and how many sockets it showed. It also judges that by the project's
// goals.
//
// It only computes: no privilege is needed, and values may be shared as long
// as nobody changes them.
package timing

import (
	"fmt"

	"sockql/internal/bench/load"
)

// A Result is one run of the whole benchmark.
type Result struct {
	Date     string    `json:"date"` // of the start, ISO 8601
	Host     Host      `json:"host"`
	Versions []Version `json:"versions"`
	// Busy is how many processes ran or waited for a disk on average in the
	// minute before (the first number of proc_loadavg(5)).
	Busy float64 `json:"busy"`
	// Floor is the peak memory in bytes of the measuring process: the kernel
	// counts it to a child until its exec, so less cannot be told.
	Floor int64  `json:"floor"`
	Loads []Load `json:"loads"`
}

// A Host is the machine, without anything that tells one from another of its
// kind.
type Host struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory uint64 `json:"memory"` // bytes
	Kernel string `json:"kernel"`
	Root   bool   `json:"root"`
}

// A Version is what a program says of itself. It is empty if the program is
// missing.
type Version struct {
	Program string `json:"program"`
	Text    string `json:"text"`
}

// A Load is what was asked while one load stood.
type Load struct {
	load.Config
	Mix       load.Mix   `json:"mix"`
	Questions []Question `json:"questions"`
	// InProcess is the output of Go benchmarks that ran beside the load.
	InProcess string `json:"in_process"`
}

// Title tells the size of the load.
func (l Load) Title() string {
	where := "in the caller's namespace"
	switch {
	case l.Namespaces == 1:
		where = "in one namespace"
	case l.Namespaces > 1:
		where = fmt.Sprintf("over %d namespaces", l.Namespaces)
	}
	return fmt.Sprintf("%s sockets of %s processes, %s", Number(l.Sockets), Number(l.Processes), where)
}

// Question finds a question by its key. The zero Question has no answers.
func (l Load) Question(key string) Question {
	for _, q := range l.Questions {
		if q.Key == key {
			return q
		}
	}
	return Question{}
}

// A Question is asked of several programs, in turns.
type Question struct {
	Key     string   `json:"key"`
	Title   string   `json:"title"`
	Answers []Answer `json:"answers"`
}

// Answer finds a program's answer.
func (q Question) Answer(program string) (Answer, bool) {
	for _, a := range q.Answers {
		if a.Program == program {
			return a, true
		}
	}
	return Answer{}, false
}
