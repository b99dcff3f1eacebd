package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"sockql/tables/builtin"
)

const recordUsage = `Usage: sockql record [--scrub] [--proc DIR] DIR

Writes what sockql sees of this host to an empty directory, so that
sockql --proc DIR gives the same answers later and elsewhere. A recording holds
command lines, environments and addresses unless --scrub replaces them.

Exit status: 0 if the recording was written, be it with gaps that standard error
names; 1 if not; 2 for wrong arguments.

`

// keep runs sockql record.
func keep(ctx context.Context, args []string) int {
	f := flag.NewFlagSet("sockql record", flag.ContinueOnError)
	proc := f.String("proc", "", "record the procfs in this `DIR`")
	scrub := f.Bool("scrub", false, "replace addresses, names of processes, arguments, environments and paths, equal ones by equal ones")
	if status, ok := parse(f, recordUsage, args, 1); !ok {
		return status
	}
	summary, err := builtin.Record(ctx, f.Arg(0), *scrub, builtin.Config{Proc: *proc})
	if err != nil {
		fmt.Fprintf(os.Stderr, "sockql record: %v\n", err)
		return 1
	}
	for _, w := range summary.Warnings {
		fmt.Fprintf(os.Stderr, "Warning: %v\n", w)
	}
	if summary.Denied > 0 {
		fmt.Fprintf(os.Stderr, "Warning: %d files and directories of processes could not be read; sockql doctor says why\n", summary.Denied)
	}
	fmt.Printf("processes: %d, sockets: %d, network namespaces: %d (%d with the answers of sock_diag)\n",
		summary.Processes, summary.Sockets, summary.Namespaces, summary.Answered)
	return 0
}
