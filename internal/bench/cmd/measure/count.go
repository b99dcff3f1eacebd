package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strconv"
)

// A counter reads what a program prints and returns how many sockets that is:
// those of the given processes where a line names one.
type counter func(r io.Reader, pids map[int]bool) (int, error)

// Where the programs write a process: users:(("name",pid=5,fd=3)) of ss, which
// names every holder; 5/name of netstat; the second field of lsof; a field of
// JSON.
var (
	ssLine      = lines(regexp.MustCompile(`pid=(\d+)`))
	netstatLine = lines(regexp.MustCompile(`\s(\d+)/`))
	lsofLine    = lines(regexp.MustCompile(`^\S+ +(\d+) `))
	jsonLine    = lines(regexp.MustCompile(`"pid":"?(\d+)`))
)

// lines counts the lines on which the first thing that pattern finds is a
// process of the load.
func lines(pattern *regexp.Regexp) counter {
	return func(r io.Reader, pids map[int]bool) (int, error) {
		n := 0
		s := bufio.NewScanner(r)
		for s.Scan() {
			if found := pattern.FindSubmatch(s.Bytes()); found != nil {
				pid, err := strconv.Atoi(string(found[1]))
				if err == nil && pids[pid] {
					n++
				}
			}
		}
		return n, s.Err()
	}
}

var cell = regexp.MustCompile(`"n":"?(\d+)`)

// number returns the column n of the one row of JSON that a program prints.
func number(r io.Reader, _ map[int]bool) (int, error) {
	text, err := io.ReadAll(io.LimitReader(r, 1<<16))
	if err != nil {
		return 0, err
	}
	found := cell.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("no count in %q", text)
	}
	n, err := strconv.Atoi(string(found[1]))
	return n, err
}
