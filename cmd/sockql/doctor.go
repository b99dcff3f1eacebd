package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"sockql/tables/builtin"
	"sockql/tables/doctor"
)

// The exit statuses of sockql doctor, besides 0.
const (
	statusIncomplete = 1
	statusFailed     = 2
)

const doctorUsage = `Usage: sockql doctor [--json] [--proc DIR]

Tries every source of sockets and processes and says, for each that does not
work, why and what would help.

Exit status: 0 if every socket of the host can be seen with everyone who holds
it, 1 if not, 2 if nothing could be examined.

`

// examine runs sockql doctor.
func examine(ctx context.Context, args []string) int {
	f := flag.NewFlagSet("sockql doctor", flag.ContinueOnError)
	proc := f.String("proc", "", "examine the procfs in this `DIR`: a container's view of its host")
	asJSON := f.Bool("json", false, "print one JSON object")
	if status, ok := parse(f, doctorUsage, args, 0); !ok {
		return status
	}
	report, err := builtin.Doctor(ctx, builtin.Config{Proc: *proc})
	if err != nil {
		fmt.Fprintf(os.Stderr, "sockql doctor: %v\n", err)
		return statusFailed
	}
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		err = e.Encode(report)
	} else {
		color := os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(os.Stdout.Fd()))
		_, err = io.WriteString(os.Stdout, reportText(report, color))
	}
	switch {
	case err != nil:
		fmt.Fprintf(os.Stderr, "sockql doctor: %v\n", err)
		return statusFailed
	case !report.Complete:
		return statusIncomplete
	}
	return 0
}

// parse parses the arguments of a subcommand that takes a number of arguments
// beside flags, before or after them. If it is not ok, the command ends with a
// status: help was asked for, or something is wrong and has been said.
func parse(f *flag.FlagSet, usage string, args []string, want int) (status int, ok bool) {
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	var rest []string
	err := f.Parse(args)
	for err == nil && f.NArg() > 0 {
		rest = append(rest, f.Arg(0))
		err = f.Parse(f.Args()[1:])
	}
	if err == nil && len(rest) != want {
		err = fmt.Errorf("%d arguments given, %d expected", len(rest), want)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(os.Stdout, usage)
		f.SetOutput(os.Stdout)
		f.PrintDefaults()
		return 0, false
	case err != nil:
		first, _, _ := strings.Cut(usage, "\n")
		fmt.Fprintf(os.Stderr, "%s: %v\n%s\n", f.Name(), err, first)
		return statusFailed, false
	}
	if want > 0 {
		err = f.Parse(append([]string{"--"}, rest...)) // so that Arg finds them
	}
	return 0, err == nil
}

// colors are the escapes that mark the outcomes on a terminal.
var colors = map[doctor.Status]string{doctor.OK: "\x1b[32m", doctor.Limited: "\x1b[33m", doctor.Missing: "\x1b[31m", doctor.Absent: "\x1b[2m"}

const colorEnd = "\x1b[0m"

// reportText writes a report for a person.
func reportText(r *doctor.Report, color bool) string {
	var b strings.Builder
	capabilities := strings.Join(r.Capabilities, ", ")
	if capabilities == "" {
		capabilities = "no capability that matters"
	}
	fmt.Fprintf(&b, "Linux %s, user %d, %s\n\n", r.Kernel, r.User, capabilities)
	width := 0
	for _, c := range r.Checks {
		width = max(width, len(c.Name))
	}
	for _, c := range r.Checks {
		status := fmt.Sprintf("%-7s", c.Status)
		if color {
			status = colors[c.Status] + status + colorEnd
		}
		fmt.Fprintf(&b, "%s  %-*s  %s\n", status, width, c.Name, c.Found)
		for _, more := range [][2]string{{"why", c.Why}, {"fix", c.Remedy}} {
			if more[1] != "" {
				fmt.Fprintf(&b, "%*s%s: %s\n", 7+2+width+2, "", more[0], more[1])
			}
		}
	}
	b.WriteByte('\n')
	if r.Complete {
		b.WriteString("Every socket can be seen with everyone who holds it.\n")
		return b.String()
	}
	var names []string
	for _, c := range r.Checks {
		if c.Needed && c.Status != doctor.OK {
			names = append(names, c.Name)
		}
	}
	fmt.Fprintf(&b, "Not everything can be seen: %s.\n", strings.Join(names, ", "))
	return b.String()
}
