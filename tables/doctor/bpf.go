package doctor

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/bpfiter"
)

// bpf loads the program that reads descriptor tables in the kernel, and asks it
// for our own.
func (e *examination) bpf(context.Context) error {
	c := Check{Name: "BPF", Status: Missing, Found: "sockets and holders are read by sock_diag and procfs instead, in several times the time"}
	defer func() { e.add(c) }()
	if !e.proc.IsInitial() {
		c.Why = "the procfs is not that of the initial pid namespace, whose numbers BPF tells"
		c.Remedy = "run it on the host, or in a container with the host's pid namespace (--pid=host)"
		return nil
	}
	source, err := bpfiter.Open(bpfiter.Config{Proc: e.root, Sys: e.sys}, nil)
	if err == nil {
		_, err = source.Namespaces(nil)
		err = errors.Join(err, source.Close())
	}
	if err == nil {
		e.byBPF = true
		c.Status, c.Found = OK, "sockets and holders of every process and namespace are read in one pass"
		return nil
	}
	c.Why = err.Error()
	c.Remedy = "what the reason names; all but the time is the same without"
	if why, remedy := e.lacksBPF(); why != "" {
		c.Why, c.Remedy = why, remedy
	}
	return nil
}

// lacksBPF explains a refusal by the capabilities that would have helped.
func (e *examination) lacksBPF() (why, remedy string) {
	if e.has(unix.CAP_SYS_ADMIN) {
		return "", ""
	}
	var missing []int
	for _, c := range []int{unix.CAP_BPF, unix.CAP_PERFMON} {
		if !e.has(c) {
			missing = append(missing, c)
		}
	}
	if missing == nil {
		return "", ""
	}
	return e.lacks(missing...)
}
